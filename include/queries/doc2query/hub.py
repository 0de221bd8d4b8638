"""Having a model from the Hugging Face hub: which files, of which commit, and what a failure means.

Files are fetched before transformers sees the model. So no pickled weights are downloaded, none are converted behind
our back (as transformers does where ``main`` has no safetensors), and the hub's errors come as they are.
"""

from __future__ import annotations

import logging
from pathlib import Path

from include.errors import RetryLaterError
from include.queries.doc2query.errors import GeneratorModelError

log = logging.getLogger(__name__)

FILES = ["*.json", "*.model", "*.safetensors"]
SAFETENSORS_REVISIONS = {"doc2query/all-t5-base-v1": "refs/pr/1"}
"""Where the safetensors of a model are if they are not in its main branch. The article's model has them in the pull
request that the hub's own conversion bot opened in March 2023 and that was never merged."""
ADVICE = (
    "Download the model where there is a network (hf download {model}) and set PODSEARCH_GENERATOR_MODEL to its "
    "folder, or set HF_ENDPOINT to a mirror that this machine can reach."
)


def fetch(model: str, revision: str | None) -> Path:
    """A folder with the model's files, in the hub's own cache; its name is the commit.

    The token is huggingface_hub's matter: it takes it from HF_TOKEN, or from where ``hf auth login`` put it.

    :raises GeneratorModelError: no such model or revision, no access to it, no safetensors, or no way to the hub.
    :raises RetryLaterError: the hub was reached and failed, or the connection broke.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = revision or SAFETENSORS_REVISIONS.get(model)
    log.info("Fetching %s (%s) from the model hub, unless it is here already.", model, wanted or "main")
    try:
        folder = Path(snapshot_download(model, revision=wanted, allow_patterns=FILES))
    except HFValidationError as error:
        raise GeneratorModelError(
            f"PODSEARCH_GENERATOR_MODEL={model!r} is neither a folder on this machine nor a hub id (owner/name)."
        ) from error
    except Exception as error:
        raise _meaning(error, model, wanted) from error
    if not any(folder.glob("*.safetensors")):
        raise GeneratorModelError(
            f"{model} ({wanted or 'main'}) has no safetensors, and pickled weights are not loaded, for they can run "
            "any code. Name a revision that has them in PODSEARCH_GENERATOR_REVISION (often refs/pr/1), or convert the "
            "model once, where you trust it, with save_pretrained(), and set PODSEARCH_GENERATOR_MODEL to the folder."
        )
    return folder


def _meaning(error: Exception, model: str, revision: str | None) -> Exception:
    """What a failed download means to a task. The cause counts: the client wraps it when it looks into its cache."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RevisionNotFoundError

    causes = _chain(error)
    for cause in causes:
        if isinstance(cause, RevisionNotFoundError):
            return GeneratorModelError(f"{model} has no revision {revision!r}: set PODSEARCH_GENERATOR_REVISION.")
        if isinstance(cause, GatedRepoError):
            return GeneratorModelError(
                f"{model} is gated: ask for access on its page, and set HF_TOKEN to a token of that account."
            )
        if isinstance(cause, HfHubHTTPError):
            return _refused(cause.response.status_code, model)
        if isinstance(cause, OfflineModeIsEnabled):
            return GeneratorModelError(f"HF_HUB_OFFLINE is set and {model} is not in the cache. " + _advice(model))
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)):
            return GeneratorModelError(f"The model hub cannot be reached ({cause}). " + _advice(model))
        if isinstance(cause, (httpx2.TransportError, TimeoutError, ConnectionError)):
            return RetryLaterError(f"The download of {model} broke off ({type(cause).__name__}: {cause}).")
    return GeneratorModelError(f"{model} could not be downloaded ({type(error).__name__}: {error}). " + _advice(model))


def _refused(status: int, model: str) -> Exception:
    if status == 429 or status >= 500:
        return RetryLaterError(f"The model hub answered {status} when asked for {model}.")
    return GeneratorModelError(
        f"The model hub has no {model} for us (it answered {status}): correct PODSEARCH_GENERATOR_MODEL, or set "
        "HF_TOKEN to a token that may read it."
    )


def _advice(model: str) -> str:
    return ADVICE.format(model=model)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found
