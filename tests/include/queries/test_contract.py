from __future__ import annotations

import pytest
from pydantic import ValidationError

from include.queries.contract import GeneratorSpec
from include.queries.opening import create_generator
from tests.include.queries.passages import passage


def test_a_part_can_be_held_out_of_the_text() -> None:
    own = passage(title="Why sleep", description="A nurse.")
    assert own.text() == "Why sleep. A nurse. The Long Table. Conversations around a table."
    assert own.text(title=False) == "A nurse. The Long Table. Conversations around a table."
    assert own.text(description="") == "Why sleep. The Long Table. Conversations around a table."


@pytest.mark.parametrize("name", ["extractive", "doc2query"])
def test_a_generator_is_created_without_its_model(name: str) -> None:
    """A shard that is finished needs none: it is loaded, or found missing, when passages come."""
    spec = GeneratorSpec.model_validate({"name": name, "model": "nobody/nothing"})
    assert create_generator(spec, device="cpu").name == name


@pytest.mark.parametrize("wrong", [{"name": "gpt"}, {"top_p": 0.0}, {"temperature": 0.0}, {"engine": "onnx"}])
def test_a_spec_that_says_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GeneratorSpec.model_validate(wrong)
