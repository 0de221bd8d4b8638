"""Getting a model from the Hugging Face hub: which files, from which commit, and what a failure means.

Files are fetched before transformers sees the model. So no pickled weights are downloaded, none are converted behind
our back (as transformers does if ``main`` has no safetensors), and the hub's errors arrive unchanged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from include.errors import PermanentError, RetryLaterError

log = logging.getLogger(__name__)

FILES = ["*.json", "*.model", "*.txt", "*.safetensors", "README.md"]


class HubModelError(PermanentError):
    """A model is not available from the hub; the message says what to do."""


@dataclass(frozen=True)
class Wanted:
    """A model on the hub, and the setting that names it.

    :param revision: branch, tag or commit (default: main).
    :param setting: name of the setting with the model.
    """

    model: str
    revision: str | None = None
    setting: str = "PODSEARCH_BASE_MODEL"


def fetch(wanted: Wanted) -> Path:
    """A folder with the model's files, in the hub's own cache; its name is the commit.

    huggingface_hub handles the token: it reads HF_TOKEN, or what ``hf auth login`` stored.

    :raises HubModelError: no such model or revision, or no access to it.
    :raises RetryLaterError: the hub cannot be reached, or failed, or the connection broke.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    log.info("Fetching %s (%s) from the model hub, unless it is here already.", wanted.model, wanted.revision or "main")
    try:
        return Path(snapshot_download(wanted.model, revision=wanted.revision, allow_patterns=FILES))
    except HFValidationError as error:
        raise HubModelError(
            f"{wanted.setting}={wanted.model!r} is neither a folder on this machine nor a hub id (owner/name)."
        ) from error
    except Exception as error:
        raise _meaning(error, wanted) from error


def conversions() -> Path:
    """Default folder for models that were converted for another engine: beside the hub's cache."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "podsearch"


def _meaning(error: Exception, wanted: Wanted) -> Exception:
    """What a failed download means for a task. The cause matters: the client wraps it when it looks into its cache."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RevisionNotFoundError

    model = wanted.model
    for cause in _chain(error):
        if isinstance(cause, RevisionNotFoundError):
            return HubModelError(f"{model} has no revision {wanted.revision!r}: correct {wanted.setting}.")
        if isinstance(cause, GatedRepoError):
            return HubModelError(
                f"{model} is gated: ask for access on its page, and set HF_TOKEN to a token of that account."
            )
        if isinstance(cause, HfHubHTTPError):
            return _refused(cause.response.status_code, wanted)
        if isinstance(cause, OfflineModeIsEnabled):
            return HubModelError(f"HF_HUB_OFFLINE is set and {model} is not in the cache. " + _advice(wanted))
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)):
            return RetryLaterError(f"The model hub cannot be reached ({cause}). " + _advice(wanted))
        if isinstance(cause, (httpx2.TransportError, TimeoutError, ConnectionError)):
            return RetryLaterError(f"The download of {model} was interrupted ({type(cause).__name__}: {cause}).")
    return HubModelError(f"{model} could not be downloaded ({type(error).__name__}: {error}). " + _advice(wanted))


def _refused(status: int, wanted: Wanted) -> Exception:
    if status == 429 or status >= 500:
        return RetryLaterError(f"The model hub answered {status} when asked for {wanted.model}.")
    return HubModelError(
        f"The model hub does not give us {wanted.model} (it answered {status}): correct {wanted.setting}, or set "
        "HF_TOKEN to a token that may read it."
    )


def _advice(wanted: Wanted) -> str:
    return (
        f"Download the model where there is a network (hf download {wanted.model}) and set {wanted.setting} to its "
        "folder, or set HF_ENDPOINT to a mirror that this machine can reach."
    )


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found
