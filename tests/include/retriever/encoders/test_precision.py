from __future__ import annotations

import pytest

from include.retriever.encoders.precision import Precision, split_precision, with_precision


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_name_says_which_model_and_which_precision(precision: Precision) -> None:
    assert split_precision(with_precision("minilm-tuned-0123abcd", precision)) == ("minilm-tuned-0123abcd", precision)


def test_precisions_of_a_model_have_different_names() -> None:
    names = {with_precision("minilm", precision) for precision in ("float32", "float16", "int8")}
    assert len(names) == 3
    assert "minilm" in names, "vectors that were there before precisions had names"
