"""The header of all pages: it leads to each of them from wherever it stands, and says where one is."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from selectolax.lexbor import LexborHTMLParser

from include.pages.header import SECTIONS, STYLE, STYLE_HASH, with_header

PAGE = b"<!doctype html><html><head><title>t</title></head><body><h1>&lt;body&gt;</h1></body></html>"


def links(path: str) -> dict[str, tuple[str, bool]]:
    """Where each link leads, under a prefix, and whether it is of the place that one is at."""
    tree = LexborHTMLParser(with_header(PAGE, path).decode())
    base = f"https://airflow.example/some/podsearch{path}"
    return {
        link.text(): (urljoin(base, str(link.attributes["href"])), "aria-current" in link.attributes)
        for link in tree.css("nav.podsearch a")
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/live", "Live"),
        ("/quality", "Data quality"),
        ("/search/", "Search"),
        ("/search/similar/e1", "Search"),
        ("/quality/trend", "Data quality"),
        ("/quality/20260101T020000.v1/data_docs/index.html", "Data quality"),
        ("/snapshots/s1/quarantine", "Data quality"),
        ("/nowhere/at/all", None),
    ],
)
def test_it_leads_everywhere_from_everywhere(path: str, name: str | None) -> None:
    found = links(path)
    root = "https://airflow.example/some/podsearch/"
    assert {text: where for text, (where, _) in found.items()} == {one.name: root + one.path for one in SECTIONS}
    assert [text for text, (_, current) in found.items() if current] == ([name] if name else [])


def test_a_page_is_otherwise_as_it_was() -> None:
    made = with_header(PAGE, "/live").decode()
    tree = LexborHTMLParser(made)
    assert [one.text() for one in tree.css("body > nav + h1")] == ["<body>"]
    assert made.count(STYLE) == 1
    assert STYLE_HASH.startswith("'sha256-")


def test_what_is_no_page_stays_what_it_is() -> None:
    assert with_header(b"plain", "/live") == b"plain"
