"""Text that was decoded as the wrong encoding on its way to the dataset: ``Itâ€™s cafÃ©`` was ``It’s café``."""

from __future__ import annotations

import re

from ftfy import fix_encoding

_LATER = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
"""The later bytes of a character in UTF-8, as Latin-1 and Windows-1252 show them."""
MARKS = f"[\xc2-\xdf]{_LATER}|[\xe0-\xef]{_LATER}{{2}}|[\xf0-\xf4]{_LATER}{{3}}"
"""What characters of two, three and four bytes look like, as a pattern of Python's and of Polars'."""

_MARKS = re.compile(MARKS)
_FIRST = re.compile(f"[\xc2-\xf4]{_LATER}")
"""Is in every text that has marks, and found in a quarter of the time."""


def read_anew(text: str) -> str:
    """A text as it was before it was decoded wrongly, if it was.

    ftfy takes a millisecond to tell, so it only sees texts with marks: correct ones have some now and then.
    """
    if text.isascii() or not _FIRST.search(text) or not _MARKS.search(text):
        return text
    return fix_encoding(text)
