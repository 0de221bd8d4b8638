"""Converting transformers to CTranslate2's format."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctranslate2.converters import TransformersConverter
from ctranslate2.specs.model_spec import visit_spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def convert(
    model: PreTrainedModel,
    folder: Path,
    *,
    compute_type: str,
    config: Mapping[str, Any],
    adjust: Callable[[Any, str, Any], None] | None = None,
) -> Path:
    """Write a model in CTranslate2's format, in a new folder, with numbers for tokens.

    :param config: what the converter is to read in the model's configuration.
    :param adjust: is called for each variable, once its numbers are small: its specification, its name, and itself.
    """
    # A copy: to make whole numbers of them, the library scales the weights where they are.
    model = copy.deepcopy(model)
    vars(model.config).update(config)
    with tempfile.TemporaryDirectory() as source:
        model.config.save_pretrained(source)
        spec = _Converter(source, model).spec()
    spec.validate()
    spec.optimize(quantization=compute_type)
    if adjust is not None:
        visit_spec(spec, adjust)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    return folder


class _Converter(TransformersConverter):  # type: ignore[misc]  # the library has no types
    """The library's converter, with a model that is loaded already."""

    def __init__(self, folder: str, model: PreTrainedModel) -> None:
        super().__init__(folder)
        self._model = model

    def spec(self) -> Any:
        """The model as the library describes it, before its numbers are made small."""
        return self._load()

    def load_model(self, model_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return self._model

    def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return _Numbers(self._model.config)


class _Numbers:
    """Stands where a tokenizer is asked for its vocabulary: each token is called by its number.

    The model has more tokens than the tokenizer, and the converter would give them names that others have.
    """

    def __init__(self, config: Any) -> None:
        self._size = config.vocab_size
        self.pad_token, self.eos_token, self.unk_token = str(config.pad_token_id), str(config.eos_token_id), "2"

    def get_vocab(self) -> dict[str, int]:
        return {str(number): number for number in range(self._size)}

    def convert_ids_to_tokens(self, number: int) -> str:
        return str(number)
