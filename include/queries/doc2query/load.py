"""Loading a T5: from a folder, or from the model hub at a known commit. Safetensors only, and never remote code."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.hub import HubModelError, Wanted, fetch
from include.queries.doc2query.engine import GeneratorModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

log = logging.getLogger(__name__)

FAMILIES = ("t5", "mt5")
SAFETENSORS_REVISIONS = {"doc2query/all-t5-base-v1": "refs/pr/1"}
"""Where the safetensors of a model are if they are not in its main branch. The article's model has them in the pull
request that the hub's own conversion bot opened in March 2023 and that was never merged."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are, and what they are.

    :param identity: the hub id with its commit, or a hash of the files: the same if and only if the model is.
    """

    folder: Path
    name: str
    identity: str


def locate(model: str, revision: str | None) -> ModelSource:
    """Find a model's files; those of a hub id are downloaded unless they were before.

    :param model: a folder, or a hub id.
    :raises GeneratorModelError: there is no such model, or it cannot be had from here; the message says what to do.
    :raises RetryLaterError: the hub cannot be reached, or failed.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not any(folder.glob("*.safetensors")):
            raise GeneratorModelError(f"No safetensors in {folder}: save the model there with save_pretrained().")
        return ModelSource(folder, model, _hash_files(folder))
    wanted = Wanted(
        model,
        revision or SAFETENSORS_REVISIONS.get(model),
        setting="PODSEARCH_GENERATOR_MODEL",
    )
    try:
        folder = fetch(wanted)
    except HubModelError as error:
        raise GeneratorModelError(str(error)) from error
    if not any(folder.glob("*.safetensors")):
        raise GeneratorModelError(
            f"{model} ({wanted.revision or 'main'}) has no safetensors, and pickled weights are not loaded, as they "
            f"can run any code. Name a revision that has them (often PODSEARCH_GENERATOR_MODEL={model}@refs/pr/1), or "
            "convert the model once, where you trust it, with save_pretrained(), and set PODSEARCH_GENERATOR_MODEL to "
            "the folder."
        )
    return ModelSource(folder, model, f"{model}@{folder.name}")


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    :raises GeneratorModelError: its files are damaged, or of another kind.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise GeneratorModelError(f"The tokenizer of {source.name} cannot be read ({error}).") from error
    return tokenizer


def load_model(source: ModelSource) -> T5ForConditionalGeneration:
    """The model in 32-bit floats on the CPU, ready for inference.

    :raises GeneratorModelError: its files are damaged, or it is no T5.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    try:
        config = AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
        if config.model_type not in FAMILIES:
            raise GeneratorModelError(
                f"{source.name} is a {config.model_type}; queries are written by {' or '.join(FAMILIES)}: set "
                "PODSEARCH_GENERATOR_MODEL to such a model."
            )
        model, report = AutoModelForSeq2SeqLM.from_pretrained(
            source.folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _damaged(source, str(error)) from error
    # transformers only warns, and draws the missing weights at random.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise _damaged(source, f"weights are missing: {sorted(report['missing_keys'])[:3]} …")
    loaded: T5ForConditionalGeneration = model.eval()
    return loaded


def _damaged(source: ModelSource, why: str) -> GeneratorModelError:
    return GeneratorModelError(
        f"The model {source.name} cannot be read ({why}). Its files are in {source.folder}: remove the folder, and it "
        "is downloaded again, or save the model again."
    )


def _hash_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.model"), *folder.glob("*.safetensors")]):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:40]}"
