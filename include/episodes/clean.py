"""From a description as it was published (HTML, entities, repeats) to the plain text that is shown and embedded.

Each function looks at one episode only, so that an episode keeps its ``content_hash`` while others come and go.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser

REPEAT_CHARS = 20
"""A line or sentence shorter than this may stand twice in a description ("Links:")."""
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
_CUT_TAG = re.compile(r"<(?:/[a-z0-9]*|[a-z][a-z0-9]*\s+[a-z-]+\s*=[^<>]*)$", re.I)
"""A tag that the publisher's cut of a long description left unfinished."""
_DROPPED_TAG = re.compile(rf"<(?:{'|'.join(_DROPPED)})\b", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)

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
    """A short field (a title) as one line of plain text."""
    if raw.isascii() and raw.isprintable() and "<" not in raw and "&" not in raw:
        return " ".join(raw.split())
    return _collapse(_visible(_plain(raw)))


def clean_description(raw: str, *, title: str, max_chars: int) -> Cleaned:
    """A description as plain text on one line.

    HTML becomes text (blocks and list items are set apart by a space), entities are decoded, a line or sentence that
    stood before is left out, and so is the title where the description begins with it as a heading.

    :param title: the clean title of the same episode or show.
    :param max_chars: length at which the text is cut, at the end of a word.
    """
    limit = MARKUP_FACTOR * max_chars
    text = _visible(_plain(raw[:limit]))
    if "\n" in text:
        text = _without_repeated_lines(text)
    text = _without_heading(text, title)
    text = _without_repeated_sentences(_collapse(text.replace("\n", " ")))
    cut = _cut(text, max_chars)
    return Cleaned(cut, len(cut) < len(text) or len(raw) > limit)


def _plain(raw: str) -> str:
    """Text without markup and entities, whose lines are still lines."""
    text = raw.replace("\r", "\n").replace("\x00", " ")  # a parser of HTML would make a replacement character of NUL
    if "<" in text and _MARKUP.search(text):
        text = _html_to_text(text)
    elif "&" in text:
        text = _decode_entities(text)
        if "<" in text and _MARKUP.search(text):  # the whole description was escaped
            text = _html_to_text(text)
    return _decode_entities(text) if "&" in text else text  # what is left was escaped twice


def _decode_entities(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def _html_to_text(text: str) -> str:
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
    if text.isprintable() and "  " not in text:  # of all white space, only the plain space counts as printable
        return text.strip()
    return " ".join(text.split())


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
