"""Text of others, made fit to be shown in a line."""

from __future__ import annotations

import unicodedata


def shorten(text: str, limit: int) -> str:
    """The text, cut so that it has ``limit`` characters at most."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean(text: str) -> str:
    """One line of visible characters: no line breaks, controls, or marks that turn or hide what follows."""
    return " ".join("".join(" " if unicodedata.category(char)[0] == "C" else char for char in text).split())
