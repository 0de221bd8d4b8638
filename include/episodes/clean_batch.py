"""Cleaning many descriptions at once: :func:`include.episodes.clean.clean_description` of each, in half the time.

Most descriptions need little: simple tags, the usual references, white space. That much is done here in columns. A
description that has anything else in it, or may have, is found out on the way and cleaned by the function itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from include.episodes.clean import ATTRIBUTES, REPEAT_CHARS, SIMPLE_BLOCKS, SIMPLE_INLINES, clean_description
from include.episodes.mojibake import MARKS

USUAL = {
    "&amp;": "&",
    "&#038;": "&",
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
    "&#8230;": "…",
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
_LINE_END = r"[ \t\x{a0}]*\n[ \t\n\x{a0}]*"
_LINE_ENDS = ("\r", "\x00")
_SENTENCE_END = "[.!?…。！？]+ *"


def clean_descriptions(
    raw: pa.StringArray | pl.Series, titles: Sequence[str] | pl.Series, *, max_chars: int
) -> tuple[pa.StringArray, list[int]]:
    """Clean descriptions as :func:`include.episodes.clean.clean_description` does.

    :param titles: the clean title of each.
    :returns: the texts, and the positions of those that were cut.
    """
    lines, text = pl.col("lines"), pl.col("text")
    frame = pl.DataFrame([pl.Series("raw", raw, pl.String), pl.Series("title", titles, pl.String)])
    frame = frame.with_columns(_without_markup().alias("text"))
    frame = frame.select("raw", "title", lines=_in_lines(text), odd=_is_odd(max_chars))
    frame = frame.with_columns(lines.str.split("\n").alias("parts"), _on_one_line(lines).alias("text"))
    special = frame["odd"] | frame.select(_starts_with_title()).to_series() | _repeats(frame["parts"])
    special |= _repeats(frame.select(text.str.replace_all(_SENTENCE_END, ".").str.split(".")).to_series())
    places = special.arg_true().to_list()
    others = zip(places, frame["raw"].gather(places).to_list(), strict=True)
    cleaned = [clean_description(one, title=titles[place], max_chars=max_chars) for place, one in others]
    texts = frame["text"].scatter(places, [one.text for one in cleaned])
    cut = [place for place, one in zip(places, cleaned, strict=True) if one.cut]
    return texts.to_arrow().cast(pa.string()), cut


def _without_markup() -> pl.Expr:
    """Blocks become NUL at first, which no attribute may hold: two halves of a tag around one must not become one."""
    text = pl.col("raw").str.replace_all(_BLOCK, "\x00").str.replace_all(_INLINE, "")
    return text.str.replace_many([*USUAL, *_LINE_ENDS], [*USUAL.values(), *("\n" for _ in _LINE_ENDS)])


def _is_odd(max_chars: int) -> pl.Expr:
    """Whether a text has more in it than was taken care of.

    That is other markup or references, or some that were escaped twice and show only now; characters that are not left
    as they are; and, as no text has more characters than bytes, what may have to be cut.
    """
    raw = pl.col("raw")
    long = raw.str.len_bytes() > max_chars
    return long | raw.str.contains("\x00", literal=True) | pl.col("text").str.contains(f"{ODD}|{MARKS}|<|&[#a-zA-Z]")


def _in_lines(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(_LINE_END, "\n").str.strip_chars(" \t\n\u00a0")


def _on_one_line(lines: pl.Expr) -> pl.Expr:
    return lines.str.replace_all(r"[\n\t\x{a0}]", " ").str.replace_all(" {2,}", " ")


def _starts_with_title() -> pl.Expr:
    return pl.col("text").str.starts_with(pl.col("title")) & (pl.col("title") != "")


def _repeats(parts: pl.Series) -> pl.Series:
    """Whether two long parts of a text are the same. That any two are is quick to tell, and rare."""
    repeats = parts.list.n_unique() < parts.list.len()
    some = repeats.arg_true()
    long = parts.gather(some).list.eval(pl.element().filter(pl.element().str.len_chars() >= REPEAT_CHARS))
    return repeats.scatter(some, long.list.n_unique() < long.list.len())
