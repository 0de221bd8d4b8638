"""Cleaning many descriptions at once: :func:`include.episodes.clean.clean_description` of each, in half the time.

Most descriptions need little: simple tags, the usual references, white space. That much is done here in columns. A
description that has anything else in it, or may have, is found out on the way and cleaned by the function itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from include.episodes.clean import ATTRIBUTES, SIMPLE_BLOCKS, SIMPLE_INLINES, clean_description
from include.episodes.mojibake import MARKS

USUAL = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#34;": '"',
    "&#39;": "'",
    "&#039;": "'",
    "&nbsp;": "\u00a0",
    "&#160;": "\u00a0",
    "&rsquo;": "’",
    "&#8217;": "’",
    "&lsquo;": "‘",
    "&ldquo;": "“",
    "&#8220;": "“",
    "&rdquo;": "”",
    "&#8221;": "”",
    "&ndash;": "–",
    "&#8211;": "–",
    "&mdash;": "—",
    "&hellip;": "…",
}
"""References that are decoded here."""

_WHITE = r"\x0b\x0c\x1c-\x1f\x85\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\x{ad}\x{61c}\x{180e}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}"
    r"\x{feff}\x{fff9}-\x{ffff}"
)
_COMPOSED = (
    r"\p{M}\x{374}\x{37e}\x{387}\x{900}-\x{dff}\x{f00}-\x{fff}\x{1100}-\x{11ff}\x{1f00}-\x{1fff}\x{2126}\x{212a}\x{212b}"
    r"\x{2329}\x{232a}\x{2adc}\x{f900}-\x{faff}\x{fb1d}-\x{fb4f}\x{1d15e}-\x{1d1c0}\x{2f800}-\x{2fa1d}"
)
ODD = f"[{_WHITE}{_INVISIBLE}{_COMPOSED}]"
"""Rare white space, characters without a glyph, and characters that normalisation (NFC) may change or put together."""
_BLOCK = f"</?(?i-u:{SIMPLE_BLOCKS}){ATTRIBUTES}"
_INLINE = f"</?(?i-u:{SIMPLE_INLINES}){ATTRIBUTES}"
_REFERENCE = "&[#a-zA-Z]"
_LINE_END = r"[ \t\x{a0}]*\n[ \t\n\x{a0}]*"
_SENTENCE_END = "[.!?…。！？]+ *"


def clean_descriptions(
    raw: pa.StringArray, titles: Sequence[str], *, max_chars: int
) -> tuple[pa.StringArray, list[int]]:
    """Clean descriptions as :func:`include.episodes.clean.clean_description` does.

    :param titles: the clean title of each.
    :returns: the texts, and the positions of those that were cut.
    """
    frame = pl.DataFrame([pl.Series("raw", raw, pl.String), pl.Series("title", titles, pl.String)])
    frame = frame.select(*_without_markup(max_chars))
    frame = frame.select(*_decoded())
    frame = frame.select(*_in_lines())
    frame = frame.select(*_on_one_line())
    frame = frame.select("text", pl.col("special") | _repeats_itself())
    special = frame["special"].arg_true().to_list()
    others = zip(special, raw.take(pa.array(special, pa.int32())).to_pylist(), strict=True)
    cleaned = [clean_description(one, title=titles[place], max_chars=max_chars) for place, one in others]
    texts = frame["text"].scatter(special, [one.text for one in cleaned])
    cut = [place for place, one in zip(special, cleaned, strict=True) if one.cut]
    return texts.to_arrow().cast(pa.string()), cut


def _without_markup(max_chars: int) -> tuple[pl.Expr, ...]:
    raw = pl.col("raw")
    text = raw.str.replace_all("\r", "\n", literal=True)
    # By way of NUL, which no attribute may hold: two halves of a tag around a block must not become one.
    text = text.str.replace_all(_BLOCK, "\x00").str.replace_all(_INLINE, "").str.replace_all("\x00", "\n", literal=True)
    # No text has more characters than bytes: what is longer than this may have to be cut.
    special = raw.str.contains("\x00", literal=True) | (raw.str.len_bytes() > max_chars)
    return pl.col("title"), special.alias("special"), text.alias("text")


def _decoded() -> tuple[pl.Expr, ...]:
    text = pl.col("text")
    references, characters = list(USUAL), list(USUAL.values())
    others = text.str.replace_many(references, [""] * len(references)).str.contains(_REFERENCE)
    has_any = text.str.contains("&", literal=True)
    decoded = pl.when(has_any).then(text.str.replace_many(references, characters)).otherwise(text)
    special = pl.col("special") | text.str.contains("<", literal=True) | (has_any & others)
    return pl.col("title"), special.alias("special"), decoded.alias("text")


def _in_lines() -> tuple[pl.Expr, ...]:
    text = pl.col("text")
    # Markup or references that were escaped twice, and show only now; and what was decoded wrongly.
    special = pl.col("special") | text.str.contains("<", literal=True) | text.str.contains(_REFERENCE)
    special |= text.str.contains(f"{ODD}|{MARKS}")
    lines = text.str.replace_all(_LINE_END, "\n").str.strip_chars(" \t\n\u00a0")
    return pl.col("title"), special.alias("special"), lines.alias("text")


def _on_one_line() -> tuple[pl.Expr, ...]:
    lines = pl.col("text")
    parts = lines.str.split("\n").list
    line = lines.str.replace_all(r"[\n\t\x{a0}]", " ").str.replace_all(" {2,}", " ")
    special = pl.col("special") | (parts.n_unique() < parts.len())
    return pl.col("title"), special.alias("special"), line.alias("text")


def _repeats_itself() -> pl.Expr:
    """Whether a text starts with its title, or two of its sentences are the same."""
    text, title = pl.col("text"), pl.col("title")
    parts = text.str.replace_all(_SENTENCE_END, ".").str.split(".").list
    return (parts.n_unique() < parts.len()) | (text.str.starts_with(title) & (title != ""))
