from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.episodes.sources.feeds import state as states
from include.episodes.sources.feeds.addresses import Feed
from include.episodes.sources.feeds.client import Answer, Validators
from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.parse import PARSER_VERSION, Parsed
from include.episodes.sources.feeds.state import Catalogue, FeedState
from include.storage import ArtifactStore

FEED = Feed("9b024349ccf05f69a6096b82873eab3c", "https://show.example/f")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALIDATORS = Validators("https://show.example/f", '"1"')
CATALOGUE = Catalogue(show={"title": "A show"}, episodes={"e": {"title": "One"}})


def test_what_is_saved_is_what_is_read(store: ArtifactStore) -> None:
    state = states.load(store, FEED).after(Answer("https://new.example/f", b"", VALIDATORS))
    saved = states.save_catalogue(store, state, CATALOGUE)
    assert states.load(store, FEED) == saved
    assert states.read_catalogue(store, saved) == CATALOGUE
    assert (saved.title, saved.episodes, saved.asked) == ("A show", 1, "https://new.example/f")


def test_a_feed_never_seen_has_nothing(store: ArtifactStore) -> None:
    state = states.load(store, FEED)
    assert states.read_catalogue(store, state) == Catalogue()
    assert state.usable_validators == Validators()


def test_the_same_content_has_the_same_name_and_the_old_one_goes(store: ArtifactStore) -> None:
    first = states.save_catalogue(store, states.load(store, FEED), CATALOGUE)
    again = states.save_catalogue(store, first, CATALOGUE)
    other = states.save_catalogue(store, again, CATALOGUE.merged(Parsed(show={"title": "Else"}, episodes={})))
    assert first.catalogue == again.catalogue != other.catalogue
    assert store.names("feeds", FEED.feed_id) == sorted(["state.json", other.catalogue])


def test_a_feed_is_off_the_list_since_the_first_poll_without_it(store: ArtifactStore) -> None:
    kept, gone = FEED, Feed("0" * 32, "https://other.example/f")
    for feed in (kept, gone):
        states.save_catalogue(store, states.load(store, feed), CATALOGUE)
    store.write_json({}, "feeds", "report.json")
    for day, feeds in enumerate(([kept, gone], [kept], [kept])):
        states.note_unlisted(store, feeds, NOW + timedelta(days=day))
    assert states.read_unlisted(store) == {gone.feed_id: NOW + timedelta(days=1)}
    states.note_unlisted(store, [kept, gone], NOW + timedelta(days=3))
    assert states.read_unlisted(store) == {}, "it is back, and nothing is lost"
    states.note_unlisted(store, [kept], NOW + timedelta(days=4))
    store.remove("feeds", gone.feed_id)
    states.note_unlisted(store, [kept], NOW + timedelta(days=5))
    assert states.read_unlisted(store) == {}, "what is removed is not remembered"


def test_merging_keeps_older_episodes_and_takes_the_new_words() -> None:
    parsed = Parsed(show={"title": "New"}, episodes={"e": {"title": "One, edited"}, "f": {"title": "Two"}})
    merged = CATALOGUE.merged(Parsed(show={"title": "New"}, episodes={"f": {"title": "Two"}})).merged(parsed)
    assert merged.show == {"title": "New"}
    assert merged.episodes == {"e": {"title": "One, edited"}, "f": {"title": "Two"}}


def test_a_feed_that_renames_its_guids_every_day_does_not_grow() -> None:
    one = {"title": "One", "audio": "https://x.example/1.mp3", "pub_date": "2017-12-01 10:00:00+00"}
    two = {"title": "Two", "audio": "https://x.example/2.mp3?day=1", "pub_date": "2017-12-02 10:00:00+00"}
    catalogue = Catalogue().merged(Parsed(show={}, episodes={"a": one, "b": two}))
    retitled, moved = one | {"title": "One!"}, two | {"audio": "https://x.example/2.mp3?day=2"}
    catalogue = catalogue.merged(Parsed(show={}, episodes={"c": retitled, "d": moved}))
    assert catalogue.episodes == {"a": retitled, "b": moved}
    three = {"title": "Three", "audio": "https://x.example/3.mp3", "pub_date": ""}
    catalogue = catalogue.merged(Parsed(show={}, episodes={"e": retitled, "f": moved, "g": three}))
    assert catalogue.episodes == {"a": retitled, "b": moved, "g": three}


def test_two_listed_episodes_with_one_enclosure_stay_two() -> None:
    same = {"title": "One", "audio": "https://x.example/live", "pub_date": ""}
    parsed = Parsed(show={}, episodes={"a": same, "b": same | {"title": "Two"}})
    assert Catalogue().merged(parsed).merged(parsed).episodes == parsed.episodes


def test_a_new_parser_reads_every_feed_anew() -> None:
    known = FeedState(feed_id="x", address="a", asked="a", validators=VALIDATORS, catalogue="c", parser=PARSER_VERSION)
    assert known.usable_validators == VALIDATORS
    assert known.model_copy(update={"parser": PARSER_VERSION - 1}).usable_validators == Validators()


def test_failures_are_counted_from_the_first_and_forgotten_by_a_success() -> None:
    state = FeedState(feed_id="x", address="a", asked="b")
    once = state.after_failure(FeedError(Reason.TIMEOUT), NOW)
    twice = once.after_failure(FeedError(Reason.THROTTLED, retry_after=60), NOW + timedelta(days=1))
    assert (twice.failures, twice.failing_since, twice.not_before) == (2, NOW, NOW + timedelta(days=1, seconds=60))
    assert once.asked == "a"  # the address of the list again
    well = twice.after(Answer("a", None, VALIDATORS))
    assert (well.failures, well.failing_since, well.not_before) == (0, None, None)


def test_the_list_has_the_last_word_about_the_address(store: ArtifactStore) -> None:
    moved = states.load(store, FEED).model_copy(update={"asked": "https://new.example/f"})
    states.save(store, moved)
    assert states.load(store, FEED).asked == "https://new.example/f"
    assert states.load(store, Feed(FEED.feed_id, "http://show.example/f")).asked == "http://show.example/f"


def test_what_was_saved_badly_is_not_taken_for_nothing(store: ArtifactStore) -> None:
    store.write_bytes(b"{}", "feeds", FEED.feed_id, "state.json")
    with pytest.raises(ValueError, match="address"):
        states.load(store, FEED)
