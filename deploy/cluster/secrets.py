"""``make secrets``: write into .env what docker-compose.yaml cannot start without, and never change what is there.

Nothing but the standard library: a machine that only runs the containers has no virtual environment.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from include.home import PROJECT


def _token() -> str:
    """Of characters that need no quoting, neither in a URL nor in .env."""
    return secrets.token_hex(24)


MAKES: dict[str, Callable[[], str]] = {
    "COMPOSE_PROJECT_NAME": lambda: "podsearch",
    "COMPOSE_PROFILES": lambda: "cpu",
    "POSTGRES_PASSWORD": _token,
    "REDIS_PASSWORD": _token,
    "AWS_ACCESS_KEY_ID": lambda: secrets.token_hex(10),
    "AWS_SECRET_ACCESS_KEY": _token,
    "AIRFLOW_FERNET_KEY": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "AIRFLOW_API_SECRET_KEY": _token,
    # Tokens are signed with SHA-512, whose keys are of 64 bytes at least.
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_hex(32),
    "SEARCH_TOKEN": _token,
    "AIRFLOW_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(15),
}
"""What each variable is set to if it is not set."""
_SET = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*(\S)", re.MULTILINE)


def missing(text: str) -> list[str]:
    """Names of what a .env lacks; an empty value is none."""
    there = {name for name, _ in _SET.findall(text)}
    return [name for name in MAKES if name not in there]


def write(file: Path) -> list[str]:
    """Add what is missing, and leave the file readable by its owner alone; the names of what was added."""
    text = file.read_text(encoding="utf-8-sig") if file.exists() else ""
    added = missing(text)
    if added:
        # What stands last counts: a line that sets one of them to nothing may stay.
        gap = "" if not text or text.endswith("\n") else "\n"
        lines = ["# Made by `make secrets` for docker-compose.yaml.", *(f"{name}={MAKES[name]()}" for name in added)]
        handle, unfinished = tempfile.mkstemp(dir=file.parent, prefix=".env.")  # its owner's alone
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text + gap + "\n".join(lines) + "\n")
            os.replace(unfinished, file)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
    file.chmod(0o600)
    return added


def main() -> int:
    """Write the project's .env and say what was added, without a value."""
    file = PROJECT / ".env"
    try:
        added = write(file)
    except OSError as error:
        print(f"{file} cannot be written ({error.strerror}).", file=sys.stderr)
        return 1
    print(f"{file}: " + (f"added {', '.join(added)}." if added else "nothing was missing."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
