from __future__ import annotations

import pytest

from include.queries.contract import create_generator
from tests.include.queries.passages import passage


def test_a_part_can_be_held_out_of_the_text() -> None:
    own = passage(title="Why sleep", description="A nurse.")
    assert own.text() == "Why sleep. A nurse. The Long Table. Conversations around a table."
    assert own.text(title=False) == "A nurse. The Long Table. Conversations around a table."
    assert own.text(description="") == "Why sleep. The Long Table. Conversations around a table."


def test_an_unknown_generator_is_refused_with_what_to_set() -> None:
    assert create_generator("extractive").name == "extractive"
    with pytest.raises(ValueError, match="PODSEARCH_QUERY_GENERATOR"):
        create_generator("gpt")
