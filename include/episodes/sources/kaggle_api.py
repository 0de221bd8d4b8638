"""The part of Kaggle's API that ingestion needs, over the official client.

What is used of the client (``kaggle`` 2.2) is its lower layer, ``kagglesdk``: its authenticated session and its typed
requests. The layer above does not fit a task that runs unattended: importing it logs in (over the network, with
whatever it finds in the environment and in the home folder), it prints to standard output, it has no time limit, and
its download resumes neither across processes with a fresh address nor tells a busy server from a refused key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter

from include.episodes.sources.backoff import Backoff
from include.errors import PermanentError, RetryLaterError

if TYPE_CHECKING:
    from kagglesdk.datasets.services.dataset_api_service import DatasetApiClient

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two bytes of an answer."""
ATTEMPTS = 4
BACKOFF_SECONDS = 2.0
THROTTLED_SECONDS = 60.0
"""How long to wait when Kaggle says that it was asked too often, but not for how long."""
LONGEST_WAIT = 6 * 3600.0
"""Seconds: no server makes a daily task wait longer."""
ACCOUNT_PAGE = "https://www.kaggle.com/settings"


@dataclass(frozen=True)
class Credentials:
    """Of a Kaggle account: an API token, or its user name and a key."""

    secret: str = field(repr=False)
    username: str | None = None

    @property
    def auth(self) -> Any:
        """In the form that the client's session takes."""
        from kagglesdk.kaggle_http_client import KaggleHttpClient

        return (self.username, self.secret) if self.username else KaggleHttpClient.BearerAuth(self.secret)


@dataclass(frozen=True)
class Dataset:
    """A dataset of Kaggle."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/datasets/{self}"


class BeginAgainError(RetryLaterError):
    """What was downloaded is of no use: the file must come from its beginning."""


class KaggleApi:
    """Kaggle as one account sees it.

    Every method raises :class:`PermanentError` for what a person must mend, and :class:`RetryLaterError` for what time
    will; neither has the credentials or an address that gives access in its message, nor behind it.

    :param backoff_seconds: first pause after a failure; see :class:`Backoff`.
    :param timeout: seconds to connect, and between two bytes of an answer.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        backoff_seconds: float = BACKOFF_SECONDS,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self._credentials = credentials
        self._backoff_seconds = backoff_seconds
        self._timeout = timeout

    def backoff(self) -> Backoff:
        """How to try again."""
        return Backoff(attempts=ATTEMPTS, seconds=self._backoff_seconds)

    def latest_version(self, dataset: Dataset) -> int:
        """Number of the newest version of a dataset."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
        backoff = self.backoff()
        while True:
            try:
                with self._datasets(dataset, f"the dataset {dataset}") as client:
                    number: int = client.get_dataset(request).current_version_number
                if number < 1:
                    raise PermanentError(f"Kaggle names no version of {dataset}: look at {dataset.page}.")
                return number
            except RetryLaterError as error:
                backoff.pause(error)

    @contextmanager
    def open_file(
        self, dataset: Dataset, version: int, file: str, *, start: int = 0, etag: str | None = None
    ) -> Iterator[requests.Response]:
        """The answer to one request for a file, from which its bytes can be read as they come.

        :param start: bytes that need not be sent again; whether the answer begins there, its status says (206).
            Where the file is not as long, a :class:`BeginAgainError` is raised.
        :param etag: of the file that those bytes are of; if it is another now, the answer is all of it.
        """
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
        request.dataset_version_number, request.file_name = version, file
        # Bytes as they are stored: the sizes and ranges that the server speaks of are theirs.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if etag:
                headers["If-Range"] = etag
        what = f"{file} in version {version} of {dataset}"
        # Kaggle redirects to a storage, and the session takes the headers along, the credentials excepted.
        with self._datasets(dataset, what, headers) as client, client.download_dataset(request) as response:
            yield response

    @contextmanager
    def _datasets(
        self, dataset: Dataset, what: str, headers: dict[str, str] | None = None
    ) -> Iterator[DatasetApiClient]:
        """The client's calls about datasets, whose errors are told apart."""
        from kagglesdk.kaggle_client import KaggleClient

        try:
            with KaggleClient(user_agent="podsearch") as client:
                session = client.http_client()._session
                # Set here, as the client itself prefers a token of the environment to a key that it is given, and has
                # no time limit.
                session.auth = self._credentials.auth
                session.headers.update(headers or {})
                for scheme in ("https://", "http://"):
                    session.mount(scheme, _TimeLimited(self._timeout))
                yield client.datasets.dataset_api_client
        except requests.HTTPError as error:
            raise self._told_apart(cast("requests.Response", error.response), dataset, what) from None
        except JSONDecodeError:
            raise RetryLaterError(f"Kaggle answered with a page instead of {what}.") from None
        except requests.RequestException as error:
            reason = type(error).__name__
            raise RetryLaterError(f"The connection to Kaggle failed ({reason}) while asking for {what}.") from None

    def _told_apart(self, response: requests.Response, dataset: Dataset, what: str) -> Exception:
        status, said = _status(response), self._said(response)
        if status == requests.codes.too_many_requests or (status >= 500 and "Retry-After" in response.headers):
            seconds = _retry_after(response)
            return RetryLaterError(f"Kaggle asks us to wait {seconds:.0f} s ({status}{said}).", seconds=seconds)
        if status == requests.codes.requested_range_not_satisfiable:
            return BeginAgainError(f"Kaggle has no such part of {what}.")
        if status >= 500 or status == requests.codes.request_timeout:
            return RetryLaterError(f"Kaggle failed ({status}{said}) to provide {what}.")
        if response.history and status in (401, 403):
            return RetryLaterError(f"Kaggle's storage refused the address that Kaggle gave for {what} ({status}).")
        if status == requests.codes.unauthorized:
            return PermanentError(
                f"Kaggle refuses the credentials ({status}{said}): create an API token at {ACCOUNT_PAGE} and put it "
                "into the password of the Airflow connection of type Kaggle (kaggle_default), with no user "
                "name; or a user name and its key."
            )
        if status == requests.codes.forbidden:
            return PermanentError(
                f"Kaggle forbids {what} ({status}{said}): open {dataset.page} with the account of the Airflow "
                "connection, accept the dataset's rules there, and check that the key may read datasets."
            )
        if status == requests.codes.not_found:
            return PermanentError(
                f"Kaggle has no {what.removeprefix('the ')} ({status}{said}): compare PODSEARCH_KAGGLE_DATASET "
                f"with {dataset.page}."
            )
        return PermanentError(f"Kaggle does not provide {what} ({status}{said}): look at {dataset.page}.")

    def _said(self, response: requests.Response) -> str:
        """Kaggle's own words, without the credentials if it repeats them."""
        message = str(_json(response).get("message") or "")
        for secret in filter(None, (self._credentials.secret, self._credentials.username)):
            message = message.replace(secret, "***")
        message = " ".join(message.split())[:200]
        return f", “{message}”" if message else ""


class _TimeLimited(HTTPAdapter):
    """Sends with a time limit, which the client itself does not set."""

    def __init__(self, timeout: tuple[float, float]) -> None:
        super().__init__()
        self._timeout = timeout

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **{**kwargs, "timeout": self._timeout})


def _json(response: requests.Response) -> dict[str, Any]:
    """The body of a refusal, if it is an object in JSON."""
    try:
        body = response.json()
    except (ValueError, requests.RequestException):
        return {}
    return body if isinstance(body, dict) else {}


def _status(response: requests.Response) -> int:
    """The status of a refusal; Kaggle also writes it into the body of an answer whose own status is 200."""
    code = _json(response).get("code")
    return response.status_code if response.status_code >= 400 or not isinstance(code, int) else code


def _retry_after(response: requests.Response) -> float:
    """Seconds to wait, as a number or as a date in the answer."""
    told = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(told) if told.isdecimal() else (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return THROTTLED_SECONDS
    return min(max(seconds, 1.0), LONGEST_WAIT)
