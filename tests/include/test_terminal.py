from __future__ import annotations

from rich.console import Console

from include.terminal import plain


def test_markup_and_control_characters_are_shown_and_not_obeyed() -> None:
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(plain("[red]a[/red]\x1b[2J\x07\x9b31m b"))
    assert capture.get() == "[red]a[/red]\ufffd[2J\ufffd\ufffd31m b\n"
