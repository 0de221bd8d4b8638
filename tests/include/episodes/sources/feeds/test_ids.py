from __future__ import annotations

import uuid

import httpx

from include.episodes.sources.feeds.ids import episode_id, feed_id


def test_ids_are_those_of_the_podcast_namespace() -> None:
    # The example of https://podcasting2.org/docs/podcast-namespace/tags/guid
    assert uuid.UUID(feed_id(httpx.URL("https://podnews.net/rss"))) == uuid.UUID("9b024349-ccf0-5f69-a609-6b82873eab3c")


def test_ids_tell_feeds_and_episodes_apart() -> None:
    one, two = (feed_id(httpx.URL(f"https://host.example/rss?id={number}")) for number in (1, 2))
    assert len({one, two, episode_id(one, "a"), episode_id(two, "a"), episode_id(one, "b")}) == 5
    assert episode_id(one, "a") == episode_id(one, "a")
    assert len(one) == len(episode_id(one, "a")) == 32


def test_a_password_is_no_part_of_the_id() -> None:
    assert feed_id(httpx.URL("https://me:old@a.example/f")) == feed_id(httpx.URL("https://me:new@a.example/f"))
