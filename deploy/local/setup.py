"""``python -m deploy.local.setup [--dev] ARGUMENTS``: Python with these arguments, in podsearch's virtual environment.

What is not installed yet, or has changed, is installed before. ``clean`` in place of the arguments stops Airflow and
removes what was generated. The Python of the system runs this: it has nothing but the standard library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from include.home import MARKER, PROJECT, VARIABLE, checked, claim, find_home

OURS = ("airflow", "artifacts", "cache", "devices", "venv", "work", MARKER)
"""What podsearch makes in its home; the marker goes last, so that an interrupted removal can be gone on with."""


def main(arguments: list[str]) -> int:
    """Run one command; its exit status."""
    try:
        home = find_home()
        environment = _environment(home)
        if arguments == ["clean"]:
            return clean(home, environment)
        dev = arguments[:1] == ["--dev"]
        claim(home)
        set_up(home, environment, dev=dev)
    except ValueError as error:
        print(f"{VARIABLE}: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    python = str(_python(home))
    os.execve(python, [python, *arguments[dev:]], environment)  # noqa: S606


def set_up(home: Path, environment: dict[str, str], *, dev: bool) -> None:
    """Make the virtual environment, and install what it lacks.

    :raises subprocess.CalledProcessError: it could not be done; pip has said why.
    """
    if not _python(home).exists():
        subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], env=environment, check=True)  # noqa: S603
    runtime = [PROJECT / "requirements.txt", *(PROJECT / "deploy" / "provider").glob("*.*")]
    wanted = {"installed": runtime} | ({"installed-dev": [PROJECT / "requirements-dev.txt"]} if dev else {})
    for name, files in wanted.items():
        stamp = home / "venv" / name
        newest = max(file.stat().st_mtime for file in (*files, PROJECT / "constraints.txt"))
        if stamp.exists() and stamp.stat().st_mtime >= newest:
            continue
        print("Installing dependencies (once; this takes a few minutes) …", flush=True)
        pip = [str(_python(home)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(  # noqa: S603
            [*pip, "-r", str(files[0]), "-c", "constraints.txt"], cwd=PROJECT, env=environment, check=True
        )
        stamp.touch()


def clean(home: Path, environment: dict[str, str]) -> int:
    """Stop Airflow, and remove what podsearch made in its home, and nothing else.

    :raises ValueError: the folder is not podsearch's, or cannot be changed.
    """
    if not home.exists():
        print("Nothing to remove.")
        return 0
    if not (checked(home) / MARKER).exists():
        print(f"{home} does not look like podsearch's folder (no {MARKER} in it): remove it by hand.")
        return 1
    if (home / "venv" / "installed").exists():
        subprocess.run([str(_python(home)), "-m", "deploy.local", "down"], env=environment, check=True)  # noqa: S603
    try:
        for path in (home / name for name in OURS):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        left = sorted(path.name for path in home.iterdir())
        if not left and not home.is_symlink():
            home.rmdir()
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be removed ({error.strerror})") from None
    print(f"Removed {home}." if not left else f"Removed what podsearch made in {home}; kept: {', '.join(left)}.")
    return 0


def _python(home: Path) -> Path:
    return home / "venv" / "bin" / "python"


def _environment(home: Path) -> dict[str, str]:
    """Whoever is run reads the home that was found here."""
    environment = {**os.environ, VARIABLE: str(home), "PYTHONPYCACHEPREFIX": str(home / "cache" / "pycache")}
    # Each task is a process of its own: without compiled libraries, it would compile them for seconds before it works.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
