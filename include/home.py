"""The folder for everything generated: which it is, and that it is ours. Plain Python, because `make` needs it before
set-up."""

from __future__ import annotations

import os
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT = PROJECT / ".podsearch"
MARKER = "made-by-podsearch"
VARIABLE = "PODSEARCH_HOME"
_LINE = re.compile(
    rf"""^[ \t]*(?:export[ \t]+)?{VARIABLE}[ \t]*=[ \t]*"""
    r"""(?:'([^'\n]*)'|"([^"\n]*)"|([^\n]*?))(?:[ \t]+\#[^\n]*)?[ \t\r]*$""",
    re.IGNORECASE | re.MULTILINE,
)


def absolute(value: str | Path) -> Path:
    """A path that means the same in every process: a relative one starts at the project's folder.

    :raises ValueError: it is not a valid path; the message has it.
    """
    try:
        path = PROJECT / Path(value).expanduser()
        path.exists()
    except RuntimeError:
        raise ValueError(f"{value}: there is no such user; write the folder in full") from None
    except OSError as error:
        raise ValueError(f"{value} cannot be used ({error.strerror}): name another place") from None
    return path


def checked(home: Path) -> Path:
    """A valid home: a folder of our own, or one that can become one.

    :raises ValueError: it is a file, or contains more than podsearch.
    """
    file = next((path for path in (home, *home.parents) if path.exists() and not path.is_dir()), None)
    if file:
        raise ValueError(f"{file} is a file: name a folder")
    if any(precious.is_relative_to(home.resolve()) for precious in (PROJECT, Path.home().resolve())):
        raise ValueError(f"{home} contains more than podsearch: name a folder of its own, such as {home / 'podsearch'}")
    return home


def find_home(dotenv: Path = PROJECT / ".env") -> Path:
    """The home that the environment or else .env names: the same as in the settings.

    :raises ValueError: it is not valid, or is written in a way that plain Python cannot resolve.
    """
    value = next((text for name, text in os.environ.items() if name.upper() == VARIABLE and text), "")
    if not value and dotenv.is_file():
        try:
            found = _LINE.findall(dotenv.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            raise ValueError(f"{dotenv} is not UTF-8: save it as UTF-8") from None
        except OSError as error:
            raise ValueError(f"{dotenv} cannot be read ({error.strerror})") from None
        value = "".join(found[-1]) if found else ""
        if "${" in value or "\\" in value:
            raise ValueError(f"{value} in {dotenv}: write the folder in full, without variables and backslashes")
    return checked(absolute(value)) if value else DEFAULT


def claim(home: Path) -> None:
    """Create the folder and mark it as ours, so that it may be removed one day.

    :raises ValueError: it is not writable, or contains somebody else's files.
    """
    if (home / MARKER).exists():
        return
    try:
        # The project's own tools keep their caches in the default home, set up or not.
        if home != DEFAULT and home.is_dir() and any(home.iterdir()):
            raise ValueError(
                f"{home} contains files that podsearch did not create: name an empty folder or a new one. "
                f"(If they are podsearch's after all, put an empty file {MARKER} beside them.)"
            )
        home.mkdir(parents=True, exist_ok=True)
        (home / MARKER).touch()
    except OSError as error:
        raise ValueError(f"{home} is not writable ({error.strerror}): name a folder that is, in {VARIABLE}") from None
