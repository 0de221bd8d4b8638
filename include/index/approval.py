"""What search would lose by a plan, and the question to a person if that is a lot.

Titles are publishers' text, and the question is shown as Markdown: they are quoted as code, so that nothing in them can
end the quote or become a link.
"""

from __future__ import annotations

import polars as pl
import pyarrow.compute as pc
from pydantic import BaseModel

from include.episodes import snapshot
from include.episodes.difference import difference
from include.index.estimate import Cost
from include.index.live import LivePointer
from include.index.plan import FOLDER, Plan, ids_to_delete
from include.storage import ArtifactStore
from include.text import clean, shorten

EXAMPLES = 10
MAX_TITLE_CHARS = 80
APPROVAL = "approval.json"


class Withdrawal(BaseModel):
    """Episodes that a plan removes, out of those that exist now."""

    episodes: int = 0
    of: int = 0
    examples: list[tuple[str, str]] = []
    """Title and show of some of them."""

    @property
    def share(self) -> float:
        return self.episodes / self.of if self.of else 0.0

    def __str__(self) -> str:
        return f"{self.episodes:,} of {self.of:,} episodes ({percent(self.share)})"


def loss_of(store: ArtifactStore, plan: Plan, live: LivePointer | None) -> Withdrawal:
    """What a plan removes: from the namespace that it writes to, or from search, whichever is the larger share.

    A model's first build deletes nothing, and yet search loses whatever its snapshot does not have.
    """
    taken: dict[str, pl.Series] = {}
    if plan.action == "difference" and plan.previous_snapshot_id:
        taken[plan.previous_snapshot_id] = ids_to_delete(store, plan)
    if live and live.snapshot_id not in taken and snapshot.exists(store, live.snapshot_id):
        taken[live.snapshot_id] = difference(store, live.snapshot_id, plan.snapshot_id).removed
    losses = {
        held: Withdrawal(episodes=len(ids), of=snapshot.load(store, held).episodes) for held, ids in taken.items()
    }
    if not losses:
        return Withdrawal()
    largest = max(losses, key=lambda held: losses[held].share)
    return losses[largest].model_copy(update={"examples": _examples(store, largest, taken[largest])})


def keep_approval(store: ArtifactStore, plan_id: str, by: str | None) -> None:
    """Note who has approved what a plan withdraws; None if nobody was asked."""
    store.write_json({"by": by}, FOLDER, plan_id, APPROVAL)


def approver(store: ArtifactStore, plan_id: str) -> str | None:
    """Who has approved what a plan withdraws; None if nobody was asked."""
    kept = store.read_json_if_there(FOLDER, plan_id, APPROVAL)
    return kept["by"] if kept else None


def subject(loss: Withdrawal) -> str:
    """The question in a line."""
    return f"Delete {loss} from search?"


def body(plan: Plan, cost: Cost, loss: Withdrawal, *, allowed: float) -> str:
    """What a person should know before answering, as Markdown.

    :param allowed: share of the episodes that may be deleted without asking.
    """
    more = loss.episodes - len(loss.examples)
    return "\n".join(
        [
            f"Search would lose **{loss}**; up to {percent(allowed)} are deleted without asking "
            "(`PODSEARCH_MAX_DELETED_SHARE`).",
            "",
            f"- Plan: {plan.summary}",
            f"- Estimated cost: {cost}",
            "",
            "These would be deleted, for example:",
            "",
            *(f"- {quoted(title)}, from the show {quoted(show)}" for title, show in loss.examples),
            *([f"- … and {more:,} more"] if more else []),
            "",
            "**Approve**: the plan is carried out, and goes live once it is verified. **Reject**: nothing is written, "
            "search continues with what is live, and the next run asks again.",
        ]
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def quoted(text: str) -> str:
    """Foreign text for Markdown, shown literally, on one line of limited length."""
    return f"`{shorten(clean(text).replace('`', 'ˋ'), MAX_TITLE_CHARS) or '–'}`"


def _examples(store: ArtifactStore, snapshot_id: str, ids: pl.Series) -> list[tuple[str, str]]:
    # Evenly from all of them: the first ids say little about the rest.
    chosen = ids.gather_every(max(1, len(ids) // EXAMPLES)).head(EXAMPLES).to_arrow()
    table = snapshot.read(store, snapshot_id, columns=["episode_id", "title", "show_title"])
    rows = table.filter(pc.is_in(table["episode_id"], value_set=chosen)).to_pylist()
    return [(row["title"], row["show_title"]) for row in rows]
