"""From a description as it was published (HTML, entities, repeats) to the plain text that is shown and embedded.

Each function looks at one episode only, so that an episode keeps its ``content_hash`` while others come and go.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser

from include.episodes.mojibake import read_anew

REPEAT_CHARS = 20
"""A line or sentence shorter than this may stand twice in a description ("Links:")."""
MAX_LINE_CHARS = 1_000
"""No title is longer, nor may be: an index keeps titles beside its vectors, and has little room there."""
MARKUP_FACTOR = 20
"""Raw text is cut at this many times the length wanted before it is parsed: markup seldom outweighs text by so much."""

# Alternatives of the patterns below, which try them in this order: the usual ones first.
_BLOCKS = (
    "p|br|li|div|h1|h2|h3|h4|h5|h6|ul|ol|hr|img|tr|td|table|address|article|aside|audio|blockquote|body|button|caption|"
    "center|dd|details|dir|dl|dt|embed|fieldset|figcaption|figure|footer|form|head|header|html|iframe|input|legend|main|"
    "nav|noscript|object|option|pre|section|select|source|summary|tbody|textarea|tfoot|th|thead|video"
)
_INLINE = (
    "a|span|strong|em|b|u|i|abbr|acronym|base|bdi|bdo|big|cite|code|col|colgroup|data|del|dfn|font|ins|kbd|label|link|map|"
    "mark|meta|meter|nobr|output|param|path|picture|progress|q|rp|rt|ruby|s|samp|script|small|strike|style|sub|sup|svg|"
    "template|time|title|track|tt|var|wbr|xml"
)
_NAMES = f"{_BLOCKS}|{_INLINE}"
_DROPPED = ["script", "style", "xml", "template", "svg", "iframe", "object", "head"]

_MARKUP = re.compile(rf"</?(?:{_NAMES}|(?:[ovwm]|st1):[a-z]+)(?=[\s/>])[^<>]*>|<!--|<!\[|<!doctype\b|<\?xml\b", re.I)
"""What is taken for HTML. Any other ``<`` is text: ``3 < 4``, ``I <3 you``, ``<someone@example.org>``."""
_NOT_MARKUP = re.compile(rf"<(?!{_MARKUP.pattern.replace('<', '', 1).replace('|<', '|')})", re.I)
_OPENING = re.compile(r"<(/?[^\s<>/]*)")
_KNOWN_OPENINGS = frozenset(
    slash + name for names in (_NAMES, _NAMES.upper()) for name in names.split("|") for slash in ("", "/")
)
_BLOCK = re.compile(rf"<(?=/?(?:{_BLOCKS})[\s/>])", re.I)
SIMPLE_BLOCKS = "p|br|div|li|ul|ol|h[1-6]|hr|img|blockquote|section|article|figure|dl|dt|dd"
SIMPLE_INLINES = "a|span|strong|em|b|i|u|s|font|small|big|sub|sup|code|del|ins|mark|cite|q|abbr"
ATTRIBUTES = (
    r"""(?:[ \t\n\f\r/][^<>"'\x00]*"""
    r"""(?:=[ \t\n\f\r]*(?:"[^"<>\x00]*"|'[^'<>\x00]*')[^<>"'\x00]*)*)?>"""
)
_SIMPLE_BLOCK = re.compile(rf"</?(?:{SIMPLE_BLOCKS}){ATTRIBUTES}", re.I | re.A)
_SIMPLE_INLINE = re.compile(rf"</?(?:{SIMPLE_INLINES}){ATTRIBUTES}", re.I | re.A)
"""Tags that leave the text where it stands: to take them out is what a parser of HTML does, in a third of the time.

Not among them: what hides text or moves it (tables, forms, scripts, styles), and tags whose quotes are out of order.
"""
_ORDINARY = (
    r"3[2-9]|[4-9]\d|1(?:[01]\d|2[0-6]|[6-9]\d)|[2-9]\d\d|[1-9]\d{3}|12\d{4}|"
    r"x(?:[2-6a-f][\da-f]|7[\da-e]|[1-9][\da-f]{2,3}|1f[\da-e][\da-f]{2})"
)
_ODD_REFERENCE = re.compile(rf"&#(?!(?:{_ORDINARY});)", re.I)
"""References by number on which parsers may differ: to controls, to what is no character, unfinished ones."""
_CUT_TAG = re.compile(r"<(?:/[a-z0-9]*|[a-z][a-z0-9]*\s+[a-z-]+\s*=[^<>]*)$", re.I)
"""A tag that the publisher's cut of a long description left unfinished."""
_DROPPED_TAG = re.compile(rf"<(?:{'|'.join(_DROPPED)})\b", re.I)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>", re.I)
_WITHOUT_SEMICOLON = "|".join(sorted((name for name in html5 if not name.endswith(";")), key=len, reverse=True))
_ENTITY = re.compile(
    rf"&(?:#\d{{2,7}};?|#\d;|#x[0-9a-f]{{2,6}};?|#x[0-9a-f];|[a-z][a-z0-9]{{1,31}};|(?-i:{_WITHOUT_SEMICOLON})(?![a-z0-9=;]))",
    re.I,
)
"""References as HTML reads them: those of old also without a semicolon, unless they may be part of an address."""
MOST_ESCAPES = 4
"""How often a text may have been escaped. Feeds are found that went through three programs which all did it."""

_CONTROLS = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
_GLYPHLESS = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
)
_JOINERS = "\u200c\u200d"
_ANY_INVISIBLE = re.compile(f"[{_CONTROLS}{_GLYPHLESS}{_JOINERS}]")
_CONTROL = re.compile(f"[{_CONTROLS}]")
_INVISIBLE = re.compile(rf"[{_GLYPHLESS}]|(?<!\S)[{_JOINERS}]+|[{_JOINERS}]+(?!\S)")
"""Characters without a glyph. Joiners inside a word stay: emoji, Persian and Indic scripts are written with them."""

_LONG_PIECE = re.compile(rf"[^\s.!?…。！？][^.!?…。！？]{{{REPEAT_CHARS - 1},}}")
_SENTENCE_END = re.compile(r"(?<=[.!?…])(\s+)|(?<=[。！？])(?=[^。！？])")
_AFTER_TITLE = re.compile(r"\s*[.:!?…–—|•\-]+\s+|\s*\n\s*")


class Cleaned(NamedTuple):
    """A clean text, and whether it had to be cut to the length wanted."""

    text: str
    cut: bool


def clean_line(raw: str) -> str:
    """A short field (a title) as one line of plain text, cut at :data:`MAX_LINE_CHARS`."""
    raw = raw[: MARKUP_FACTOR * MAX_LINE_CHARS]
    if raw.isascii() and raw.isprintable() and "<" not in raw and "&" not in raw:
        return _cut(" ".join(raw.split()), MAX_LINE_CHARS)
    return _cut(_collapse(_visible(read_anew(_plain(raw)))), MAX_LINE_CHARS)


def clean_description(raw: str, *, title: str, max_chars: int) -> Cleaned:
    """A description as plain text on one line.

    HTML becomes text (blocks and list items are set apart by a space), entities are decoded, a line or sentence that
    stood before is left out, and so is the title where the description begins with it as a heading.

    :param title: the clean title of the same episode or show.
    :param max_chars: length at which the text is cut, at the end of a word.
    """
    limit = MARKUP_FACTOR * max_chars
    text = _visible(read_anew(_plain(raw[:limit])))
    if "\n" in text:
        text = _without_repeated_lines(text)
    text = _without_heading(text, title)
    text = _without_repeated_sentences(_collapse(text))
    cut = _cut(text, max_chars)
    return Cleaned(cut, len(cut) < len(text) or len(raw) > limit)


def _plain(raw: str) -> str:
    """Text without markup and entities, whose lines are still lines."""
    text = raw.replace("\r", "\n").replace("\x00", " ")  # a parser of HTML would make a replacement character of NUL
    parsed = False  # once only: tags that are text in HTML are text
    for _ in range(MOST_ESCAPES):
        if not parsed and "<" in text and _MARKUP.search(text):
            text, parsed = _html_to_text(text), True
        elif "&" in text and (decoded := _decode_entities(text)) != text:
            text = decoded
        else:
            break
    return text


def _decode_entities(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def _html_to_text(text: str) -> str:
    if "<![" in text:
        text = _CDATA.sub("", text)  # a parser of HTML would take it for a comment, and all of the text with it
    simple = _SIMPLE_INLINE.sub("", _SIMPLE_BLOCK.sub("\x00", text))
    if "<" not in simple and not ("&#" in simple and _ODD_REFERENCE.search(simple)):
        return html.unescape(simple.replace("\x00", "\n"))
    return _parse(text)


def _parse(text: str) -> str:
    unfinished = text.rfind("<") > text.rfind(">")
    if unfinished:
        text = _CUT_TAG.sub("", text)
    if unfinished or not _KNOWN_OPENINGS.issuperset(_OPENING.findall(text)):
        text = _NOT_MARKUP.sub("&lt;", text)
    tree = LexborHTMLParser(_BLOCK.sub("\n<", text))
    if tree.root is None:
        return ""
    if _DROPPED_TAG.search(text):
        tree.strip_tags(_DROPPED)
    return (tree.body or tree.root).text(separator="")


def _visible(text: str) -> str:
    """Composed characters (NFC) without control and invisible ones; line ends stay."""
    if _ANY_INVISIBLE.search(text):
        text = _INVISIBLE.sub("", _CONTROL.sub(" ", text))
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _collapse(text: str) -> str:
    text = text.replace("\n", " ").replace("\xa0", " ")
    if not text.isprintable():  # of all white space, only the plain space counts as printable
        return " ".join(text.split())
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


def _without_repeated_lines(text: str) -> str:
    lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
    return "\n".join(lines if len(set(lines)) == len(lines) else _first_of_each(lines))


def _without_repeated_sentences(text: str) -> str:
    pieces = _LONG_PIECE.findall(text)
    if len(set(pieces)) == len(pieces):  # nothing long stands twice: the usual case, and quick to tell
        return text
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence]
    return _collapse("".join(_first_of_each(sentences)))


def _first_of_each(parts: list[str]) -> list[str]:
    seen: set[str] = set()
    kept = []
    for part in parts:
        if len(part) >= REPEAT_CHARS:
            if part in seen:
                continue
            seen.add(part)
        kept.append(part)
    return kept


def _without_heading(text: str, title: str) -> str:
    """Leave out a title that the description starts with, where a line end or punctuation follows and text remains."""
    text, start = text.strip(), 0
    while title and text.startswith(title, start):
        end = _AFTER_TITLE.match(text, start + len(title))
        if end is None or end.end() == len(text):
            break
        start = end.end()
    return text[start:]


def _cut(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    head, space, _ = text[: max_chars + 1].rpartition(" ")
    # Scripts without spaces have no word end to look for.
    return head if space and len(head) > max_chars // 2 else text[:max_chars]
