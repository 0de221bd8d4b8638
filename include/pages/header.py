"""The header that all pages in Airflow share: which there are, and which one this is."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """One of the places that the header leads to.

    :param path: below the prefix of the pages.
    :param owned: beginnings of the other paths whose pages belong to it.
    """

    name: str
    path: str
    owned: tuple[str, ...] = ()


SECTIONS = (
    Section("Live", "live"),
    Section("Reports", "reports", ("reports/",)),
    Section("Queries", "queries"),
    Section("Data quality", "quality", ("quality/", "snapshots/")),
    Section("Search", "search/", ("search/",)),
)
STYLE = """
.podsearch { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 1.5rem; padding: 0 0 .6rem;
  border-bottom: 1px solid #8884; font: 15px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.podsearch strong { font-weight: 650; } .podsearch a { color: inherit; text-decoration: none; opacity: .8; }
.podsearch a:hover, .podsearch a:focus-visible { text-decoration: underline; opacity: 1; }
.podsearch [aria-current] { opacity: 1; font-weight: 600; box-shadow: 0 2px; }
@media print { .podsearch { display: none; } }
"""
STYLE_HASH = "'sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode() + "'"
"""What a policy names that allows this style and no other."""


def with_header(page: bytes, path: str) -> bytes:
    """A page with the header at its top.

    :param page: a whole document of HTML, as it was stored or made.
    :param path: where it is read, below the prefix of the pages: links are relative, for nobody knows what a proxy
        puts before them.
    """
    head = f"<style>{STYLE}</style>".encode()
    page = page.replace(b"</head>", head + b"</head>", 1)
    return page.replace(b"<body>", b"<body>" + _header(path.lstrip("/")).encode(), 1)


def _header(path: str) -> str:
    up = "../" * path.count("/")
    here, link = Markup(' aria-current="page"'), Markup('<a href="{}"{}>{}</a>')
    links = [
        link.format(up + one.path, here if path == one.path or path.startswith(one.owned) else "", one.name)
        for one in SECTIONS
    ]
    return Markup('<nav class="podsearch" aria-label="podsearch"><strong>podsearch</strong>{}</nav>').format(
        Markup("").join(links)
    )
