"""Small catalogues to write queries from."""

from __future__ import annotations

from include.queries.contract import Passage

SUBJECTS = {
    "sleep": "Insomnia keeps nurses awake after long hospital shifts and melatonin rarely helps them rest",
    "bread": "Sourdough starters ferment slowly in cold kitchens while bakers knead rye flour before dawn",
    "whales": "Humpback whales sing across oceans and biologists record their songs with hydrophones",
    "debt": "Student loans follow graduates for decades and lenders sell the debt to collectors",
    "chess": "Grandmasters memorise openings with computers and endgames still decide the tournament",
    "bees": "Beekeepers fight varroa mites that weaken colonies before the winter frost arrives",
}
SHOW = "The Long Table"


def passage(key: str = "sleep", **changes: str | None) -> Passage:
    """A passage with a plain title, a lead and enough rest to be found by it."""
    values: dict[str, str | None] = {
        "episode_id": key,
        "title": f"Ep. 12 – Why {key} matters to everybody",
        "description": f"{SUBJECTS.get(key, SUBJECTS['sleep'])}. Our guest Anouk Terwilliger explains what changed "
        f"over twenty years, what went wrong on the way, and what anyone can do about {key} today.",
        "show_title": SHOW,
        "show_description": "Conversations around a table",
        "language": "English",
    }
    return Passage(**(values | changes))  # type: ignore[arg-type]


def catalogue() -> list[Passage]:
    return [passage(key) for key in SUBJECTS]
