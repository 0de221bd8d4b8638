from __future__ import annotations

from collections import Counter

import pyarrow as pa

from include.evaluation.known_items import KINDS, known_items

WORDS = [
    "silent",
    "rivers",
    "lost",
    "ports",
    "odd",
    "machines",
    "old",
    "bridges",
    "wild",
    "gardens",
    "cold",
    "kitchens",
]


def episodes(titles: list[str], show: str = "The Night Shift") -> pa.Table:
    return pa.table(
        {
            "episode_id": [f"e{number:03d}" for number in range(len(titles))],
            "title": titles,
            "show_title": [show] * len(titles),
        }
    )


def titles(count: int) -> list[str]:
    return [f"Ep. {n} – {WORDS[n % 12]} {WORDS[n // 12 % 12]} of {WORDS[(n + 5) % 12]} {n}x" for n in range(count)]


def test_each_query_is_made_of_the_title_that_it_asks_for() -> None:
    table = episodes(titles(60))
    found = known_items(table, 30, seed=1)
    assert (found.name, len(found), found.positives) == ("known", 30, None)
    assert Counter(found.origins) == dict.fromkeys(KINDS, 10)
    shown = dict(zip(table["episode_id"].to_pylist(), table["title"].to_pylist(), strict=True))
    for query, (episode_id,), origin in zip(found.queries, found.relevant, found.origins, strict=True):
        bare = shown[episode_id].split("– ")[1].casefold()
        if origin == "misspelt":
            assert sorted(query) == sorted(bare)
            assert query != bare
            assert sum(one != other for one, other in zip(query, bare, strict=True)) == 2
        elif origin == "half of the title":
            assert set(query.split()) < set(bare.split())
        else:
            assert query.startswith("the night shift ")
            assert sorted(query.split()[3:]) == sorted(bare.split())


def test_the_same_seed_asks_the_same_whatever_the_order_of_the_episodes() -> None:
    table = episodes(titles(40))
    again = table.take(pa.array(range(39, -1, -1)))
    assert known_items(table, 20, seed=1) == known_items(again, 20, seed=1)
    assert known_items(table, 20, seed=1) != known_items(table, 20, seed=2)


def test_a_title_that_does_not_name_one_episode_is_not_asked() -> None:
    table = episodes(["Ep. 1 – Questions of the listeners", "Questions of the Listeners", "Ep. 3", "Hi", "the " * 30])
    assert len(known_items(table, 10, seed=1)) == 0
    assert len(known_items(table.slice(0, 0), 10, seed=1)) == 0
