"""The real client against a stand-in, each time in a process of its own: it reads its environment on import."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.standins.model_hub import ModelHub

MODEL = "doc2query/tiny"
ARTICLES = "doc2query/all-t5-base-v1"
BRANCH = "refs/pr/1"
ASK = """
import json, sys
from include.queries.doc2query.load import locate
for model, revision in json.loads(sys.argv[1]):
    try:
        source = locate(model, revision)
        answer = {"files": sorted(file.name for file in source.folder.iterdir()), "identity": source.identity}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print("answer", json.dumps(answer))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ModelHub]:
    """A hub with a model that has pickled weights on main, and on another branch safetensors, too."""
    pickled = {"config.json": "{}", "tokenizer.json": "{}", "README.md": "x", "pytorch_model.bin": "pickle"}
    folders = {"main": tmp_path / "main", BRANCH: tmp_path / "branch"}
    for branch, files in {"main": pickled, BRANCH: pickled | {"model.safetensors": "weights" * 100}}.items():
        folders[branch].mkdir()
        for name, content in files.items():
            (folders[branch] / name).write_text(content)
    with ModelHub(models={MODEL: folders, ARTICLES: folders}).serve() as served:
        yield served


def ask(address: str, tmp_path: Path, *wanted: Any, script: str = ASK, **extra: str) -> list[dict[str, Any]]:
    """What becomes of some models in another process, by default of the one branch that can be loaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", script, json.dumps(wanted or [(MODEL, BRANCH)])]
    done = subprocess.run(command, env=environment | extra, capture_output=True, text=True, timeout=120, check=True)
    assert "hf_secret" not in done.stdout + done.stderr
    return [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("answer ")]


def test_safetensors_come_and_pickled_weights_do_not(hub: ModelHub, tmp_path: Path) -> None:
    answer, articles = ask(hub.address, tmp_path, (MODEL, BRANCH), (ARTICLES, None))
    assert answer["files"] == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert answer["identity"] == f"{MODEL}@{hub.commit(MODEL, BRANCH)}"
    assert not [name for name in hub.downloads if name.endswith(".bin")]
    # The article's model is named without a branch, and its main branch cannot be loaded.
    assert articles["identity"] == f"{ARTICLES}@{hub.commit(ARTICLES, BRANCH)}"


def test_what_is_here_is_used_when_the_hub_is_away(hub: ModelHub, tmp_path: Path) -> None:
    first = ask(hub.address, tmp_path)
    assert "identity" in first[0]
    assert ask("http://127.0.0.1:1", tmp_path) == first
    assert ask(hub.address, tmp_path, HF_HUB_OFFLINE="1") == first


def test_the_token_is_taken_from_the_environment(hub: ModelHub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    assert "HF_TOKEN" in ask(hub.address, tmp_path)[0]["message"]
    assert "identity" in ask(hub.address, tmp_path, HF_TOKEN="hf_secret")[0]


def test_what_a_person_must_mend_stops_the_task_and_says_what_to_set(hub: ModelHub, tmp_path: Path) -> None:
    hub.models |= dict.fromkeys(("doc2query/gated", "doc2query/private"), hub.models[MODEL])
    hub.refuse = {"doc2query/gated": (403, "GatedRepo"), "doc2query/private": (401, "RepoNotFound")}
    cases = {
        (MODEL, None): f"PODSEARCH_GENERATOR_MODEL={MODEL}@",  # pickled weights only
        (MODEL, "no-such-branch"): "PODSEARCH_GENERATOR_MODEL",
        ("doc2query/no-such-model", None): "PODSEARCH_GENERATOR_MODEL",
        ("/no/such/folder/at/all", None): "PODSEARCH_GENERATOR_MODEL",
        ("doc2query/gated", None): "gated",
        ("doc2query/private", None): "HF_TOKEN",
    }
    answers = ask(hub.address, tmp_path, *cases)
    assert {answer["error"] for answer in answers} == {"GeneratorModelError"}
    for says, answer in zip(cases.values(), answers, strict=True):
        assert says in answer["message"]


def test_what_time_may_mend_is_tried_again(hub: ModelHub, tmp_path: Path) -> None:
    hub.models["doc2query/down"] = hub.models[MODEL]
    hub.refuse = {"doc2query/down": (500, "")}
    hub.hang_up_on = ".safetensors"
    answers = ask(hub.address, tmp_path, ("doc2query/down", None), (MODEL, BRANCH))
    assert [answer["error"] for answer in answers] == ["RetryLaterError"] * 2
    hub.hang_up_on = None
    assert "identity" in ask(hub.address, tmp_path)[0]


def test_without_a_way_to_the_hub_the_message_says_how_to_do_without(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = ask(f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)[0]
    assert answer["error"] == "RetryLaterError"
    assert "PODSEARCH_GENERATOR_MODEL" in answer["message"]
    assert "HF_ENDPOINT" in answer["message"]


def test_base_models_come_by_the_same_door(hub: ModelHub, tmp_path: Path) -> None:
    """A hub in trouble made a task fail at once, as if a person had to mend it."""
    load = """
import json, sys
from include.retriever.registry import load_base
for name in json.loads(sys.argv[1]):
    try:
        load_base(name, "cpu")
    except Exception as error:
        print("answer", json.dumps({"error": type(error).__name__, "message": str(error)}))
"""
    hub.models["doc2query/down"] = hub.models[MODEL]
    hub.refuse = {"doc2query/down": (503, "")}
    down, missing, pickled = ask(hub.address, tmp_path, "doc2query/down", "doc2query/none", MODEL, script=load)
    assert down["error"] == "RetryLaterError"
    assert (missing["error"], "PODSEARCH_BASE_MODEL" in missing["message"]) == ("ModelError", True)
    assert pickled["error"] == "ModelError"
    assert not [name for name in hub.downloads if name.endswith(".bin")]
