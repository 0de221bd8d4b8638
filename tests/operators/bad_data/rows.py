"""A row, or a few, cannot be used, or only in part."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.operators.bad_data.draft import (
    EPISODES,
    EPISODES_A_SHOW,
    Case,
    Published,
    change,
    in_zip,
    insert,
    packed,
    repeat,
    several,
)

HOSTILE = "alert(7)"
"""What a browser would run if a page let markup of the data through."""
SCRIPT = f"<script>{HOSTILE}</script>"
IMAGE = f"<img src=x onerror={HOSTILE}>"
ESCAPED_SCRIPT = SCRIPT.replace("<", "&lt;")

BROKEN = [
    Case("too few fields", insert("episodes", b"episode-x,A title\n"), Published({"malformed_row": 1})),
    Case("too many fields", insert("episodes", b"a,b,c,d,e,f,g,h\n"), Published({"malformed_row": 1})),
    Case(
        "forty consecutive rows with a quote in the wrong place",
        insert(
            "episodes", *[b'x-%d,"A "title" so",,60,2017-12-01 05:00:00+00,About it,show-1\n' % n for n in range(40)]
        ),
        Published({"malformed_row": 40}),
    ),
    Case("too few fields in the file of shows", insert("podcasts", b"x,y\n"), Published({"malformed_row": 1})),
    Case(
        "a quote that is never closed, before good rows",
        insert("episodes", b'episode-x,"A title,,60,2017-12-01 05:00:00+00,About it,show-1\n'),
        Published({"malformed_row": 1}),
    ),
    Case(
        "a quote closed in the wrong place",
        insert("episodes", b'episode-x,"A "title" so",,60,2017-12-01 05:00:00+00,About it,show-1\n'),
        Published({"malformed_row": 1}),
    ),
    Case(
        "the header again, in the middle",
        insert("episodes", b"uuid,title,audio,audio_length,pub_date,description,podcast_uuid\n"),
        Published({"orphan": 1}),
    ),
    Case("empty lines", several(insert("episodes", b"\n", b"\r\n"), change("episodes", [3], title="New")), Published()),
    Case(
        "bytes that are not UTF-8, in one row",
        insert("episodes", b"episode-x,Caf\xe9,,60,2017-12-01 05:00:00+00,About it,show-1\n"),
        Published({"bad_encoding": 1}),
    ),
    Case(
        "a description of 5 MiB",
        several(change("episodes", [3], description="word " * 2**20), packed(in_zip)),
        Published(counted={"description_cut": 1}),
    ),
]

IDS = [
    Case("no id", change("episodes", [3], uuid=""), Published({"missing_id": 1}, ("Every episode has an id",))),
    Case(
        "an id with a space",
        change("episodes", [3], uuid="an id"),
        Published({"bad_id": 1}, ("Ids are usable as index keys",)),
    ),
    Case(
        "an id that is not ASCII",
        change("episodes", [3], uuid="é"),
        Published({"bad_id": 1}, ("Ids are usable as index keys",)),
    ),
    Case(
        "an id of more than 512 characters",
        change("episodes", [3], uuid="x" * 513),
        Published({"bad_id": 1}, ("Ids are usable as index keys",)),
    ),
    Case("the same row twice", repeat("episodes", 1), Published({"duplicate_id": 1}, ("No two episodes share an id",))),
    Case(
        "the same id with different content: the first is kept",
        repeat("episodes", 1, title="Other"),
        Published({"duplicate_id": 1}, ("No two episodes share an id",), holds=("episode-0", {"title": "Talk 0"})),
    ),
    Case(
        "markup as an id, twice",
        change("episodes", [3, 4], uuid=SCRIPT),
        Published({"duplicate_id": 1}, ("No two episodes share an id",), holds=(SCRIPT, {"title": "Talk 3"})),
    ),
    Case("the same show twice", repeat("podcasts", 1), Published({"duplicate_id": 1}, ("No two shows share an id",))),
    Case(
        "a show without an id, which orphans its episodes",
        change("podcasts", [1], uuid=""),
        Published(
            {"missing_id": 1, "orphan": EPISODES_A_SHOW},
            ("Every show has an id", "The show of an episode is in podcasts.csv"),
        ),
    ),
    Case("an episode of an unknown show", change("episodes", [3], podcast_uuid="show-999"), Published({"orphan": 1})),
    Case(
        "an episode that names no show",
        change("episodes", [3], podcast_uuid=""),
        Published({"orphan": 1}, ("Every episode names its show",)),
    ),
]

TEXTS = [
    Case("no title", change("episodes", [3], title=""), Published({"missing_title": 1})),
    Case(
        "no description",
        change("episodes", [3], description=""),
        Published(holds=("episode-3", {"description": None}), counted={"without_description": 1}),
    ),
    Case(
        "a description that is only markup",
        change("episodes", [3], description=f"<p>&nbsp;</p>{IMAGE}{SCRIPT}"),
        Published(holds=("episode-3", {"description": None}), counted={"without_description": 1}),
    ),
    Case(
        "a description in CDATA twice",
        change("episodes", [3], description="<![CDATA[<p>About owls</p>]]>"),
        Published(holds=("episode-3", {"description": "About owls"})),
    ),
    Case(
        "text that was decoded wrongly along the way",
        change("episodes", [3], title="Itâ€™s cafÃ©", description="<p>Itâ€™s cafÃ©</p>"),
        Published(holds=("episode-3", {"title": "It’s café", "description": "It’s café"})),
    ),
    Case(
        "entities without a semicolon, and escaped three times",
        change("episodes", [3], title="&copy 2017", description="Q&amp;amp;amp;A"),
        Published(holds=("episode-3", {"title": "© 2017", "description": "Q&A"})),
    ),
    Case(
        "only blanks, in every required field",
        several(
            change("episodes", [0], uuid=" \t "),
            change("episodes", [1], podcast_uuid="\u3000"),
            change("episodes", [2], title="\xa0"),
            change("episodes", [3], description=" \n "),
        ),
        Published(
            {"missing_id": 1, "orphan": 1, "missing_title": 1},
            ("Every episode has an id", "Every episode names its show"),
            holds=("episode-3", {"description": None}),
            counted={"without_description": 1},
        ),
    ),
    Case(
        "a show without a title, and so its episodes",
        change("podcasts", [1], title=" "),
        Published({"show_without_title": EPISODES_A_SHOW, "missing_title": 1}, ("Shows have a title",)),
    ),
    Case(
        "a show without a description",
        change("podcasts", [1], description=""),
        Published(holds=("episode-1", {"show_description": None}), counted={"shows_without_description": 1}),
    ),
    Case(
        "NUL and other control characters",
        change("episodes", [3], title="\x00One\x07 \x1btwo\x7f"),
        Published(holds=("episode-3", {"title": "One two"})),
    ),
    Case(
        "characters that reverse the direction of text",
        change("episodes", [3], title="Harmless \u202egnp.exe\u202c \u2066end\u2069"),
        Published(holds=("episode-3", {"title": "Harmless gnp.exe end"})),
    ),
    Case(
        "scripts in titles, descriptions and the language",
        several(
            change("podcasts", [3], title=f"{SCRIPT}Show", description=f"{IMAGE}About", language=f"English{SCRIPT}"),
            change("episodes", [3], title=f"One {SCRIPT}{IMAGE}two", description=f"{SCRIPT}<p>Three</p>{IMAGE}"),
        ),
        Published(
            warnings=("Languages are names or codes",),
            holds=(
                "episode-3",
                {"title": "One two", "description": "Three", "show_title": "Show", "language": "English"},
            ),
        ),
    ),
    Case(
        "a title that is only a script, escaped as text",
        change("episodes", [3], title=ESCAPED_SCRIPT),
        Published({"missing_title": 1}),
    ),
]

VALUES = [
    Case(
        "a date that is not a date",
        change("episodes", [3], pub_date="last Friday"),
        Published(holds=("episode-3", {"published_at": None}), counted={"bad_date": 1}),
    ),
    Case(
        "dates as feeds write them, on a 12-hour clock, and in seconds since 1970",
        several(
            change("episodes", [2], pub_date="1493715900"),
            change("episodes", [3], pub_date="Tue, 2 May 2017 9:05 PM EST"),
        ),
        Published(holds=("episode-3", {"published_at": datetime(2017, 5, 3, 2, 5, tzinfo=UTC)})),
    ),
    Case(
        "a date in 1960: the first airing of an archived show",
        change("episodes", [3], pub_date="Mon, 02 May 1960 09:05:01 +0100"),
        Published(holds=("episode-3", {"published_at": datetime(1960, 5, 2, 8, 5, 1, tzinfo=UTC)})),
    ),
    Case(
        "a date in 2150",
        change("episodes", [3], pub_date="2150-01-01 00:00:00+00"),
        Published(holds=("episode-3", {"published_at": None}), counted={"bad_date": 1}),
    ),
    Case(
        "a date in 2090, in one row of fifty",
        change("episodes", range(0, EPISODES, 50), pub_date="2090-01-01 00:00:00+00"),
        Published(warnings=("Dates are plausible", "Dates are plausible")),
    ),
    Case(
        "no date",
        change("episodes", [3], pub_date=""),
        Published(holds=("episode-3", {"published_at": None}), counted={"empty_date": 1}),
    ),
    Case(
        "lengths as h:mm:ss, with units and in ISO 8601",
        several(
            change("episodes", [0], audio_length="1h 2m"),
            change("episodes", [1], audio_length="01:02:03"),
            change("episodes", [2], audio_length="3723 seconds"),
            change("episodes", [3], audio_length="PT1H2M3S"),
        ),
        Published(holds=("episode-3", {"duration_seconds": 3_723})),
    ),
    Case(
        "lengths that are negative, thousands of years long, or letters",
        several(
            change("episodes", [0], audio_length="-5"),
            change("episodes", [1], audio_length="1e12"),
            change("episodes", [2], audio_length="ten"),
        ),
        Published(holds=("episode-1", {"duration_seconds": None}), counted={"bad_audio_length": 3}),
    ),
]
