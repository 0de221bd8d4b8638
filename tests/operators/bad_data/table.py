"""The table of bad data, for the tests and for people.

The page ``docs/bad-data.md`` shows it. After a change of a case, write it there anew: ``python -m
tests.operators.bad_data.table``.
"""

from __future__ import annotations

from pathlib import Path

from tests.operators.bad_data.catalogue import CATALOGUE
from tests.operators.bad_data.draft import Case, Stops
from tests.operators.bad_data.files import FILES
from tests.operators.bad_data.rows import BROKEN, IDS, TEXTS, VALUES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "bad-data.md"

SECTIONS = {
    "Files": FILES,
    "Rows that are broken": BROKEN,
    "Ids": IDS,
    "Texts": TEXTS,
    "Dates and lengths": VALUES,
    "The catalogue as a whole": CATALOGUE,
}
CASES = [case for cases in SECTIONS.values() for case in cases]


def tables() -> str:
    """The table as Markdown, a section for each of :data:`SECTIONS`."""
    lines: list[str] = []
    for title, cases in SECTIONS.items():
        lines += [f"## {title}", "", "| what is wrong | how it ends | message or result |", "| --- | --- | --- |"]
        lines += [f"| {case.name} | {' | '.join(_ending(case))} |" for case in cases]
        lines.append("")
    return "\n".join(lines)


def _ending(case: Case) -> tuple[str, str]:
    """How a case ends, and what is said of it."""
    ends = case.ends
    if isinstance(ends, Stops):
        said = " and ".join(f"“{phrase}”" for phrase in dict.fromkeys(ends.messages.values()))
        if case.settings:
            said += " (with " + ", ".join(f"`PODSEARCH_{name}={value}`" for name, value in case.settings.items()) + ")"
        return "**stops** at " + " and ".join(f"`{task}`" for task in ends.messages), said
    parts = []
    if ends.quarantined:
        parts.append("quarantine: " + ", ".join(f"`{reason}` {count}" for reason, count in ends.quarantined.items()))
    if ends.warnings:
        parts.append("warning: " + ", ".join(f"“{what}”" for what in dict.fromkeys(ends.warnings)))
    if ends.holds:
        fields = ends.holds[1].items()
        parts.append("kept: " + ", ".join(f"{name} {f'“{value}”' if value else 'unknown'}" for name, value in fields))
    if ends.counted:
        parts.append("counted: " + ", ".join(f"`{name}` {count}" for name, count in ends.counted.items()))
    return "published", "; ".join(parts) or "nothing: it is read correctly"


if __name__ == "__main__":
    start, end = "<!-- table -->", "<!-- end of table -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    PAGE.write_text(f"{before}{start}\n\n{tables()}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
