"""Text from feeds and models in the terminal."""

from __future__ import annotations

import unicodedata

from rich.text import Text


def plain(text: str, style: str = "") -> Text:
    """Text for the terminal, shown literally and never as markup, without control characters."""
    return Text("".join("\ufffd" if unicodedata.category(sign) in {"Cc", "Cs"} else sign for sign in text), style)
