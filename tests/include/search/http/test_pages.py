"""The page for people, as it is sent: what it says, what it links to, and that podcast text is never markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.include.search.http.conftest import IMAGE, SCRIPT


def page(client: httpx.Client, path: str = "/", status: int = 200, **parameters: str) -> LexborHTMLParser:
    answer = client.get(path, params=parameters or None)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return LexborHTMLParser(answer.text)


def texts(tree: LexborHTMLParser, selector: str) -> list[str]:
    return [" ".join(node.text().split()) for node in tree.css(selector)]


def attribute(tree: LexborHTMLParser, selector: str, name: str) -> str:
    """Of the first of such elements."""
    return tree.css(selector)[0].attributes[name] or ""


def test_the_first_page_says_what_to_do_and_names_shows(client: httpx.Client) -> None:
    client.get("/suggest", params={"q": "a"}).raise_for_status()  # by then titles are read
    tree = page(client)
    assert texts(tree, "h1") == ["Find an episode by what it is about"]
    assert "money" in texts(tree, ".examples a")
    assert attribute(tree, "#q", "value") == ""
    assert tree.css("#q[autofocus]")
    assert tree.css_first("label[for=q]")
    assert not tree.css("[role=alert]")


def test_results_keep_the_query_and_mark_its_words(client: httpx.Client) -> None:
    tree = page(client, q="rockets and the moon", mode="lexical")
    assert attribute(tree, "#q", "value") == "rockets and the moon"
    assert set(texts(tree, "mark")) == {"rocket", "moon"}
    assert texts(tree, "title") == ["rockets and the moon · podsearch"]
    facts = [[part.text().strip() for part in one.css(".facts > *")] for one in tree.css(".facts")]
    assert ["space", "1 December 2017", "30 min", "German"] in facts


@pytest.mark.parametrize(("query", "message"), [("", "Say what"), ("   ", "Say what"), ("?!", "That contains no word")])
def test_an_empty_or_absurd_query_is_asked_back(client: httpx.Client, query: str, message: str) -> None:
    tree = page(client, q=query)
    assert texts(tree, "[role=alert]")[0].startswith(message)
    assert tree.css(".examples a")


def test_what_cannot_be_asked_is_said_and_what_was_written_stays(client: httpx.Client) -> None:
    tree = page(client, status=422, q="rocket", since="yesterday")
    assert texts(tree, "[role=alert]")[0].startswith("since: ")
    assert attribute(tree, "#q", "value") == "rocket"
    assert texts(page(client, status=422, q="x" * 1001), "[role=alert]")[0].startswith("q: ")


def test_what_others_append_to_an_address_does_no_harm(client: httpx.Client) -> None:
    assert texts(page(client, q="rocket", utm_source="mail"), ".results a.title") == texts(
        page(client, q="rocket"), ".results a.title"
    )


def test_filters_and_pages_are_links_that_keep_all_else(client: httpx.Client) -> None:
    tree = page(client, q="rocket", shortest="1")
    (german,) = [one for one in tree.css(".narrow a") if one.text() == "German"]
    address = german.attributes["href"] or ""
    assert httpx.QueryParams(address.partition("?")[2]) == httpx.QueryParams(
        q="rocket", shortest="1", language="German"
    )
    narrowed = page(client, address)
    assert texts(narrowed, ".filters a") == [
        "German ×: remove this filter",
        "at least 1 min ×: remove this filter",
    ]
    assert len(narrowed.css(".results > li")) == 1
    all_of_them = page(client, q="rocket")
    assert len(all_of_them.css(".results > li")) == 10
    (second,) = [one for one in all_of_them.css(".pages a") if one.text() == "2"]
    last = page(client, second.attributes["href"] or "")
    assert len(last.css(".results > li")) == 5
    assert attribute(last, ".results", "start") == "11"
    assert texts(last, ".pages [aria-current=page]") == ["2"]


def test_nothing_found_is_said(client: httpx.Client) -> None:
    tree = page(client, q="rocket", language="Klingon")
    assert texts(tree, "h1")[0].startswith("No episodes found")
    assert texts(page(client, q="rocket", page="5"), "h1")[0].startswith("There are only 15 results")


def test_the_page_of_an_episode_has_those_like_it(client: httpx.Client) -> None:
    found = page(client, q="rocket", show="space")
    tree = page(client, attribute(found, ".results a.title", "href"))
    assert texts(tree, "h1") == texts(found, ".results a.title")[:1]
    assert texts(tree, "#like") == ["Similar episodes"]
    assert len(tree.css(".results > li")) == 10
    missing = page(client, "/similar/nobody", status=404)
    assert "The live index has no episode" in missing.text()


def everything(client: httpx.Client) -> Iterator[str]:
    for path in (
        "/",
        "/?q=tomato&explain=true",
        "/?q=garden&mode=lexical",
        "/similar/e0020",
        "/similar/e0021",
        "/similar/" + SCRIPT.replace("/", ""),
    ):
        yield client.get(path).text
    for text in (SCRIPT, IMAGE, f"tomato {SCRIPT}", f"{IMAGE} tomato", "'\"><svg/onload=alert(1)>"):
        yield client.get("/", params={"q": text}).text
        yield client.get("/", params={"q": "tomato", "language": text}).text
        yield client.get("/", params={"q": "tomato", "show": text}).text
        yield client.get("/", params={"q": text, "page": text}).text
        yield client.get("/", params={"q": text * 100}).text


def test_a_word_with_a_slip_is_asked_back(client: httpx.Client) -> None:
    tree = page(client, q="slep in bed", language="English")
    assert texts(tree, ".meant") == ["Did you mean sleep in bed?"]
    assert attribute(tree, ".meant a", "href") == "/?language=English&q=sleep+in+bed"
    assert not page(client, q="sleep in bed").css(".meant")
    # In no title, but in descriptions, as what is live has them now.
    assert not page(client, q="spade").css(".meant")


def test_the_largest_shows_are_offered_as_somebody_types(client: httpx.Client) -> None:
    for tree in (page(client), page(client, q="rocket")):
        assert attribute(tree, "#q", "list") == attribute(tree, "datalist", "id")
        assert "money" in {node.attributes["value"] for node in tree.css("datalist option")}


def test_an_answer_can_be_limited_to_one_episode_of_each_show(client: httpx.Client) -> None:
    tree = page(client, q="rocket")
    (link,) = [one.attributes["href"] for one in tree.css(".narrow a") if one.text().strip() == "one episode"]
    limited = page(client, str(link))
    assert texts(limited, ".narrow strong")[:1] == ["one episode"]
    assert "of 15" in texts(tree, "h1")[0]
    assert "of 11" in texts(limited, "h1")[0], "of as many shows"
    assert attribute(limited, ".search input[name=per_show]", "value") == "1"


def test_text_is_never_markup(client: httpx.Client) -> None:
    allowed = {"autofocus", "action", "alt", "aria-current", "aria-hidden", "aria-label", "aria-labelledby"}
    allowed |= {"autocomplete", "charset", "class", "content", "controls", "datetime", "dir", "enterkeyhint", "for"}
    allowed |= {
        "height",
        "href",
        "id",
        "lang",
        "list",
        "max",
        "maxlength",
        "method",
        "min",
        "name",
        "preload",
        "rel",
        "role",
    }
    allowed |= {"src", "start", "type", "value", "width"}
    seen = ""
    for text in everything(client):
        seen += html.unescape(text)
        tree = LexborHTMLParser(text)
        assert not tree.css("script, svg, iframe, object, embed, style")
        assert {node.attributes["src"].partition("?")[0] for node in tree.css("img")} == {"/icon.svg"}  # type: ignore[union-attr]
        for node in tree.css("*"):
            assert set(node.attributes) <= allowed, (node.tag, node.attributes)
            for name in ("href", "src", "action"):
                address = node.attributes.get(name) or "/"
                assert re.match(r"/|#|https://cdn\.example/", address), address
    assert SCRIPT in seen  # it is there: as text
    assert IMAGE in re.sub("</?mark>", "", seen)


def test_audio_waits_for_somebody_to_play_it_and_is_of_the_web(client: httpx.Client, harmful: Path) -> None:
    tree = page(client, q="rocket", show="space")
    assert {node.attributes["src"] for node in tree.css("audio")} == {
        "https://cdn.example/rocket.mp3",
        'https://cdn.example/" onplay="alert(1)',
    }
    assert all(node.attributes["preload"] == "none" for node in tree.css("audio"))
    assert not any("autoplay" in node.attributes for node in tree.css("audio"))
    assert not page(client, "/similar/e0021").css_first(".episode audio")
    assert client.get("/episodes/e0021").json()["episode"]["audio_url"] is None


def test_style_and_icon_are_the_servers_own(client: httpx.Client) -> None:
    tree = page(client)
    for node in tree.css("link"):
        answer = client.get(node.attributes["href"] or "")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
