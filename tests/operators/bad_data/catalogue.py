"""Every row can be used, or could be, and yet the catalogue is not what it was."""

from __future__ import annotations

from tests.operators.bad_data.draft import (
    EPISODES,
    IN_GERMAN,
    RAW,
    SHOWS,
    Case,
    Draft,
    Published,
    Stops,
    change,
    change_each,
    episodes,
    keep,
    repeat,
)

HALF = range(0, EPISODES, 2)
THIRD = range(0, EPISODES, 3)


def four_times_as_many(draft: Draft) -> None:
    draft.rows["episodes"] = episodes(4 * EPISODES)


def other_ids_of_shows(draft: Draft) -> None:
    for place in range(SHOWS):
        draft.row("podcasts", place).update(uuid=f"other-{place}")


def other_ids_of_episodes(draft: Draft) -> None:
    for place in range(EPISODES):
        draft.row("episodes", place).update(uuid=f"other-{place}")


CATALOGUE = [
    Case(
        "a quarter of the episodes gone",
        keep("episodes", EPISODES * 3 // 4),
        Stops({RAW: "At most 20% fewer episodes than the 600 of the last snapshot"}),
    ),
    Case(
        "a third of the shows gone",
        keep("podcasts", SHOWS * 2 // 3),
        Stops({"validate_podcasts": "At most 20% fewer shows than the 30 of the last snapshot"}),
    ),
    Case(
        "shows whose ids are not the ones their episodes name",
        other_ids_of_shows,
        Stops({RAW: "The show of an episode is in podcasts.csv (at least 65% of them)"}),
    ),
    Case(
        "all episodes under new ids",
        other_ids_of_episodes,
        Stops({"validate_drift": "Share of the last snapshot's episodes that are gone"}),
    ),
    Case(
        "four times as many episodes",
        four_times_as_many,
        Published(warnings=("At most 3 times the 600 episodes of the last snapshot",) * 2),
    ),
    Case(
        "every row twice",
        repeat("episodes", EPISODES),
        Stops({RAW: "No two episodes share an id (at least 65% of them)"}),
    ),
    Case(
        "half of the descriptions gone",
        change("episodes", HALF, description=""),
        Stops({RAW: "Episodes have a description (at least 65% of them)"}),
    ),
    Case(
        "half of the dates unreadable",
        change("episodes", HALF, pub_date="01.12.2017"),
        Stops({RAW: "Dates can be read (at least 65% of them) … such as '01.12.2017 in "}),
    ),
    Case(
        "a larger share in quarantine than allowed",
        change("episodes", THIRD, title="<p>&nbsp;</p>"),
        Stops({"validate_episodes": "At most 30% of the 600 rows read are in quarantine (200 are: 33.3%)"}),
        settings={"MAX_QUARANTINED_SHARE": "0.3", "MAX_SHRINK": "0.5"},
    ),
    Case(
        "a third of the descriptions are only markup",
        change("episodes", THIRD, description="<p>&nbsp;</p>"),
        Published(
            warnings=(
                "Episodes have a description",
                "Share of descriptions in HTML",
                "Share of episodes without description",
            )
        ),
    ),
    Case(
        "half of the descriptions are only markup",
        change("episodes", HALF, description="<p>&nbsp;</p>"),
        Stops({"validate_episodes": "Episodes have a description (at least 65% of them)"}),
    ),
    Case(
        "a third of the titles are only markup",
        change("episodes", THIRD, title="<p>&nbsp;</p>"),
        Stops(
            {
                "validate_episodes": "At most 20% fewer episodes than the 600 of the last snapshot",
                "validate_drift": "Number of episodes",
            }
        ),
    ),
    Case(
        "a language collapses: all shows are now English",
        change("podcasts", IN_GERMAN, language="English"),
        Stops({"validate_drift": "Share of German episodes, no collapse: observed 0 %"}),
    ),
    Case(
        "no show states its language",
        change("podcasts", range(SHOWS), language=""),
        Stops({"validate_drift": "Share of English episodes, no collapse: observed 0 %"}),
    ),
    Case(
        "all texts are the same",
        change("episodes", range(EPISODES), title="Untitled", description="No description given"),
        Stops({"validate_drift": "Share of episodes that repeat the text of another, no explosion: observed 95 %"}),
    ),
    Case(
        "every date a year earlier",
        change_each(lambda _, row: {"pub_date": row["pub_date"].replace("2017", "2016")}),
        Published(warnings=("Date of the newest episode",)),
    ),
    Case(
        "no dates at all",
        change("episodes", range(EPISODES), pub_date=""),
        Published(
            warnings=(
                *("Episodes have a date",) * 2,
                "Date of the newest episode",
                "Share of episodes without published_at",
            )
        ),
    ),
    Case(
        "every description in HTML",
        change_each(lambda _, row: {"description": f"<p>{row['description']}</p>"}),
        Published(warnings=("Share of descriptions in HTML",)),
    ),
    Case(
        "descriptions cut to their first words",
        change_each(lambda place, _: {"description": f"Part {place} is about"}),
        Published(warnings=("Length of descriptions, median", "Length of descriptions, mean")),
    ),
]
