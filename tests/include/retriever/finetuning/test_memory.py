"""What a training does where the device's memory is short."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Transformer

from include.devices.halving import halvings
from include.retriever.finetuning import run as run_module
from include.retriever.manifest import ModelManifest
from tests.include.retriever.finetuning.workshop import assert_same_weights, tune

FORWARD = Transformer.forward


@contextmanager
def memory_for(texts: int, monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> Iterator[list[int]]:
    """A device whose memory suffices for so many texts with their activations, as soon as some calls were made.

    :returns: texts of each call that kept activations.
    """
    calls: list[int] = []

    def forward(module: Transformer, features: dict[str, Any], **more: Any) -> Any:
        rows = len(features["input_ids"])
        if torch.is_grad_enabled():
            if rows > texts and len(calls) >= after:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a great deal.")
            calls.append(rows)
        return FORWARD(module, features, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Transformer, "forward", forward)
        # As on a GPU, the whole batch is embedded at once as long as it fits.
        patch.setattr("include.retriever.finetuning.losses.PIECE", 16)
        yield calls


def test_what_does_not_fit_is_halved_until_it_does(
    tmp_path: Path,
    calm_folder: Path,
    base: ModelManifest,
    calm: tuple[Path, ModelManifest],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = halvings()
    with memory_for(5, monkeypatch) as calls:
        manifest = tune(tmp_path, calm_folder, base)
    assert max(calls) == 4
    assert halvings() - before == 2
    assert "Continuing with batches of 4." in caplog.messages
    assert_same_weights(tmp_path, calm[0], atol=1e-4, rtol=1e-3)
    assert manifest.version == calm[1].version
    assert manifest.metrics == calm[1].metrics


def test_memory_that_runs_out_on_the_way_costs_the_steps_since_the_last_checkpoint(
    tmp_path: Path,
    calm_folder: Path,
    base: ModelManifest,
    calm: tuple[Path, ModelManifest],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), memory_for(8, monkeypatch, after=2 * 23):
        manifest = tune(tmp_path, calm_folder, base)
    assert "Continuing with batches of 8." in caplog.messages
    assert "Resuming from checkpoint-20." in caplog.messages
    assert_same_weights(tmp_path, calm[0], atol=1e-4, rtol=1e-3)
    assert manifest.version == calm[1].version
    assert manifest.metrics == calm[1].metrics


def test_before_the_first_checkpoint_it_begins_anew_with_the_base_model(
    tmp_path: Path,
    model_folder: Path,
    base: ModelManifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not with the weights of a few steps, which would then be made twice."""
    with memory_for(8, monkeypatch, after=2 * 5):
        tune(tmp_path / "interrupted", model_folder, base)
    monkeypatch.setattr(run_module, "mini_batch_to_begin_with", lambda *_: 8)
    tune(tmp_path / "whole", model_folder, base)
    assert_same_weights(tmp_path / "interrupted", tmp_path / "whole")


def test_a_single_pair_that_does_not_fit_is_an_error(
    tmp_path: Path, model_folder: Path, base: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_for(0, monkeypatch), pytest.raises(torch.OutOfMemoryError):
        tune(tmp_path, model_folder, base)
