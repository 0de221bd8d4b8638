"""Foreign text, made safe to show on one line."""

from __future__ import annotations

import unicodedata


def shorten(text: str, limit: int) -> str:
    """The text, cut to at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean(text: str) -> str:
    """One line of visible characters: no line breaks, control characters, or marks that reverse or hide what
    follows."""
    return " ".join("".join(" " if unicodedata.category(char)[0] == "C" else char for char in text).split())
