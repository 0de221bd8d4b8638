"""Text from feeds and models in the terminal."""

from __future__ import annotations

import io
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text


def console(**options: Any) -> Console:
    """Standard output as a console; a ``?`` stands for what its encoding lacks.

    :param options: of :class:`rich.console.Console`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(**options)


def plain(text: str, style: str = "") -> Text:
    """Text for the terminal, shown literally and never as markup, without control characters."""
    return Text("".join("\ufffd" if unicodedata.category(sign) in {"Cc", "Cs"} else sign for sign in text), style)
