"""The tables that the suites check: the data itself, with a few columns of facts about each row.

A suite checks ``description_chars`` rather than ``description``: it is computed once for the whole column, costs four
bytes a row, and a sample of failing values stays a few numbers instead of megabytes of podcast text.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MARKUP = r"(?i)</?(p|br|div|span|a|ul|ol|li|b|i|em|strong|script|style|img|h[1-6])(\s[^<>]*)?/?>"
"""HTML that cleaning should have turned into text."""
SHORT = 200
"""Characters kept of a text that is only checked for being there: Great Expectations hashes every value of a table."""
LONG = ("description", "show_description", "text", "image", "audio")
"""The columns that are shortened."""


def raw_podcasts(podcasts: pd.DataFrame) -> pd.DataFrame:
    """``podcasts.csv`` as read (strings), with ``title_chars`` and ``description_chars``, texts shortened."""
    podcasts = _blank_is_null(podcasts)
    return _shortened(podcasts).assign(**_lengths(podcasts, ("title", "description")))


def raw_episodes(episodes: pd.DataFrame, podcasts: pd.DataFrame) -> pd.DataFrame:
    """``episodes.csv`` as read (strings), with what the suite needs to know about each row.

    Added: ``title_chars``, ``description_chars``; ``podcast_known``, whether the show is in ``podcasts``;
    ``published_year``, null without a date; ``date_parses``, null without a date. Descriptions are shortened.
    """
    episodes = _blank_is_null(episodes)
    added = _lengths(episodes, ("title", "description"))
    if "podcast_uuid" in episodes and "uuid" in podcasts:
        added["podcast_known"] = episodes["podcast_uuid"].isin(podcasts["uuid"].dropna())
    if "pub_date" in episodes:
        dates = pd.to_datetime(episodes["pub_date"], format="ISO8601", utc=True, errors="coerce")
        added["published_year"] = dates.dt.year.astype("Int32")
        added["date_parses"] = dates.notna().astype("boolean").mask(episodes["pub_date"].isna())
    return _shortened(episodes).assign(**added)


def prepared_episodes(episodes: pa.Table) -> pd.DataFrame:
    """Prepared episodes, with what the suite needs to know about each.

    Added: ``title_chars``, ``description_chars``, ``text_chars``, ``published_year`` and ``has_markup``, whether HTML
    is left in ``text``. Long texts are shortened.
    """
    table = episodes
    for name in ("title", "description", "text"):
        if name in table.column_names:
            table = table.append_column(f"{name}_chars", pc.utf8_length(table[name]))
    if "text" in table.column_names:
        table = table.append_column("has_markup", pc.match_substring_regex(table["text"], MARKUP))
    if "published_at" in table.column_names:
        table = table.append_column("published_year", pc.year(table["published_at"]))
    for name in set(LONG) & set(table.column_names):
        short = pc.utf8_slice_codeunits(table[name], 0, SHORT)
        table = table.set_column(table.column_names.index(name), name, short)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _blank_is_null(frame: pd.DataFrame) -> pd.DataFrame:
    """A CSV file cannot tell an empty text from none; nor can a reader of nothing but white space."""
    return frame.assign(**{name: frame[name].where(frame[name].str.strip() != "") for name in frame.columns})


def _shortened(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].str.slice(0, SHORT) for name in LONG if name in frame})


def _lengths(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, pd.Series]:
    """Lengths in characters, null where the text is; a missing column is left to the suite to report."""
    return {f"{name}_chars": frame[name].str.len().astype("Int32") for name in columns if name in frame}
