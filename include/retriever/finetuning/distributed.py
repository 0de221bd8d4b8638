"""One training in several processes, one a GPU, started by torchrun; each batch is shared out among them.

The processes talk to whoever started them through files in the training's folder, and never outlive him: a second
attempt would otherwise find the first one still writing checkpoints.

``python -m include.retriever.finetuning.distributed launch|train …`` is how this module starts itself.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.distributed.elastic.multiprocessing.errors import record

from include.devices.halving import is_out_of_memory
from include.retriever.finetuning.hardware import Hardware
from include.retriever.recipe import Recipe
from include.storage import ArtifactStore

if TYPE_CHECKING:
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

JOB, EXAMPLES, EVAL_PAIRS = "job.json", "job-examples.parquet", "job-eval.parquet"
"""What the processes are given: settings and texts."""
TRAINED, HISTORY, MEMORY = "job-trained", "job-history.json", "job-memory.json"
"""What they give back."""
OUT_OF_MEMORY, LOGS = "job-out-of-memory", "job-logs"
LAST_LINES = 30
PR_SET_PDEATHSIG = 1


class WorkersError(RuntimeError):
    """A process of a training failed; the message ends in what they wrote last."""


def train_distributed(
    base_folder: Path,
    examples: pa.Table,
    eval_pairs: pa.Table,
    *,
    recipe: Recipe,
    hardware: Hardware,
    mini_batch_size: int,
    work: Path,
) -> tuple[Path, list[dict[str, float]]]:
    """Train in as many processes as there are devices; see :func:`include.retriever.finetuning.trainer.train_model`.

    :param base_folder: the model to begin with.
    :returns: the folder of the trained model, and the trainer's history.
    :raises torch.OutOfMemoryError: one of them ran out of its GPU's memory.
    :raises WorkersError: one of them failed for another reason.
    """
    store = ArtifactStore(work)
    for old in (OUT_OF_MEMORY, HISTORY, MEMORY):
        store.remove(old)
    store.write_table(examples, EXAMPLES)
    store.write_table(eval_pairs, EVAL_PAIRS)
    job = {"base_folder": str(base_folder.resolve()), "recipe": recipe.model_dump(), "hardware": asdict(hardware)}
    store.write_json(job | {"mini_batch_size": mini_batch_size}, JOB)
    code, lines = _run(work, hardware)
    if (work / OUT_OF_MEMORY).is_file():
        raise torch.OutOfMemoryError((work / OUT_OF_MEMORY).read_text())
    if code:
        raise WorkersError(f"A training process failed (exit code {code}):\n" + "\n".join(lines))
    return work / TRAINED, store.read_json(HISTORY)


def peak_bytes(work: Path) -> int:
    """The most memory that one process of a distributed training had allocated on its GPU (on a CPU: had), if known."""
    store = ArtifactStore(work)
    return int(store.read_json(MEMORY)["peak_bytes"]) if store.exists(MEMORY) else 0


def _run(work: Path, hardware: Hardware) -> tuple[int, list[str]]:
    """Run torchrun, and pass on what its processes write; its exit code and their last lines."""
    command = [sys.executable, "-m", __spec__.name, "launch", str(os.getpid()), str(work), str(hardware.gpus)]
    threads = hardware.threads or torch.get_num_threads()
    environment = os.environ | {
        "OMP_NUM_THREADS": str(max(1, threads // hardware.gpus)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    process = subprocess.Popen(  # noqa: S603 (our own module)
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            log.info("%s", line.rstrip())
        return process.wait(), list(last)
    finally:
        process.kill()
        process.wait()


def launch(work: Path, processes: int) -> None:
    """Be torchrun, until the process that started this one ends."""
    from torch.distributed.run import main

    training = ["-m", __spec__.name, "train", str(os.getpid()), str(work)]
    main(["--standalone", f"--nproc-per-node={processes}", f"--log-dir={work / LOGS}", *training])


@record  # so that torchrun tells the first error among those that follow from it
def train(work: Path) -> None:
    """Be one of the processes that train."""
    # What starts the processes needs none of it, and is there sooner without.
    from include.retriever.finetuning.evaluation import create_evaluator
    from include.retriever.finetuning.trainer import train_model

    rank = int(os.environ["RANK"])
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s", force=True)
    store = ArtifactStore(work)
    job = store.read_json(JOB)
    recipe, hardware = Recipe.model_validate(job["recipe"]), Hardware(**job["hardware"])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = f"cuda:{os.environ['LOCAL_RANK']}" if hardware.device == "cuda" else "cpu"
    try:
        model, history = train_model(
            Path(job["base_folder"]),
            store.read_table(EXAMPLES),
            create_evaluator(store.read_table(EVAL_PAIRS)),
            recipe=recipe,
            hardware=hardware,
            mini_batch_size=job["mini_batch_size"],
            work=work,
            device=device,
        )
    except Exception as error:
        if is_out_of_memory(error):
            store.write_bytes(str(error).splitlines()[0].encode(), OUT_OF_MEMORY)
        raise
    _report(work, model, history, device)


def _report(work: Path, model: SentenceTransformer, history: list[dict[str, float]], device: str) -> None:
    """Give back what was trained; all processes have the same."""
    peak = _peak(device)
    torch.distributed.all_reduce(peak, torch.distributed.ReduceOp.MAX)
    if torch.distributed.get_rank() == 0:
        model.save_pretrained(str(work / TRAINED), create_model_card=False, safe_serialization=True)
        store = ArtifactStore(work)
        store.write_json({"peak_bytes": int(peak)}, MEMORY)
        store.write_json(history, HISTORY)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _peak(device: str) -> torch.Tensor:
    if device == "cpu":
        import resource

        return torch.tensor(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return torch.tensor(torch.cuda.max_memory_allocated(device), device=device)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the one that started it ends, however that comes about (Linux).

    :param parent: that process's id.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    if sys.argv[1] == "launch":
        launch(Path(sys.argv[3]), int(sys.argv[4]))
    else:
        train(Path(sys.argv[3]))
