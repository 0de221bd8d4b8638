"""Pinecone's control plane: the indexes that together are ours, one for each dimension.

An index of Pinecone's has one dimension for all its namespaces. A model with another dimension gets an index beside the
one that is live, so that search goes on until the new one is ready.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pinecone import Index, Pinecone
from pinecone.models.indexes.schema import DenseVectorField

from include.errors import PermanentError, RetryLaterError
from include.index.contract import IndexMismatchError
from include.index.pinecone.calls import Caller, ExistsError, MissingError, Patience
from include.index.pinecone.credentials import Credentials

if TYPE_CHECKING:
    from pinecone.models.indexes.index import IndexModel

log = logging.getLogger(__name__)

METRIC = "cosine"
CONNECTIONS = 64
"""Kept open to an index; half of them stay open between requests."""
FAILED = {"InitializationFailed", "Terminating", "Disabled"}


@dataclass(frozen=True)
class Member:
    """One index, and the client that reads and writes it."""

    name: str
    dimension: int
    client: Index


class Family:
    """The indexes ``NAME-DIMENSION`` of a project.

    :param name: lower-case letters, digits and hyphens.
    """

    def __init__(self, name: str, credentials: Credentials, caller: Caller, patience: Patience) -> None:
        self.name = name
        self._credentials = credentials
        self._caller = caller
        self._patience = patience
        self._pinecone = caller.call(
            "opening it",
            partial(Pinecone, credentials.api_key.strip(), host=credentials.host, timeout=patience.request),
        )
        self._clients: dict[str, Index] = {}

    def members(self) -> list[Member]:
        """The indexes that are there, the smallest dimension first.

        :raises IndexMismatchError: one is not what its name says.
        """
        models = self._caller.call("listing indexes", lambda: list(self._pinecone.indexes.list()))
        named = re.compile(rf"{re.escape(self.name)}-(\d+)")
        found = [(int(match[1]), model) for model in models if (match := named.fullmatch(model.name))]
        return [
            self._member(model, dimension)
            for dimension, model in sorted(found, key=lambda pair: pair[0])
            if model.status.ready
        ]

    def ensure(self, dimension: int) -> Member:
        """The index for a dimension, made if it is not there, as soon as it is ready.

        :raises IndexMismatchError: there is one of this name that is not right for it.
        :raises RetryLaterError: it is not ready in time.
        """
        name = f"{self.name}-{dimension}"
        try:
            model = self._describe(name)
        except MissingError:
            self._create(name, dimension)
            model = self._describe(name)
        end = time.monotonic() + self._patience.ready
        while not model.status.ready:
            if model.status.state in FAILED:
                raise PermanentError(f"The index {name} is {model.status.state}: look at it in Pinecone's console.")
            if time.monotonic() >= end:
                raise RetryLaterError(f"The index {name} is not ready after {self._patience.ready:.0f} s.")
            time.sleep(self._patience.poll)
            model = self._describe(name)
        return self._member(model, dimension)

    def _describe(self, name: str) -> IndexModel:
        return self._caller.call(f"describing the index {name}", partial(self._pinecone.indexes.describe, name))

    def _create(self, name: str, dimension: int) -> None:
        deployment = {
            "deployment_type": "managed",
            "cloud": self._credentials.cloud,
            "region": self._credentials.region,
        }
        log.info("Creating the index %s in %s.", name, self._credentials.region)
        try:
            self._caller.call(
                f"creating the index {name}",
                # The arguments that make an index of vectors by their old names; the schema would ask for ours.
                partial(
                    self._pinecone.indexes.create,
                    name=name,
                    dimension=dimension,
                    metric=METRIC,
                    deployment=deployment,
                    timeout=-1,
                ),
            )
        except ExistsError:
            log.info("The index %s was made meanwhile.", name)

    def _member(self, model: IndexModel, dimension: int) -> Member:
        fields = model.schema.fields.values()
        held = [(found.dimension, found.metric) for found in fields if isinstance(found, DenseVectorField)]
        if held != [(dimension, METRIC)]:
            raise IndexMismatchError(
                f"Pinecone's index {model.name} must have {dimension} dimensions and the metric {METRIC}, but has "
                f"{', '.join(f'{number} and {metric}' for number, metric in held) or 'no vectors'}: delete it, or set "
                "PODSEARCH_PINECONE_INDEX to another name."
            )
        if not model.host:
            raise RetryLaterError(f"Pinecone does not say yet where the index {model.name} is.")
        if model.host not in self._clients:
            self._clients[model.host] = Index(
                host=self._address(model.host),
                api_key=self._credentials.api_key.strip(),
                timeout=self._patience.request,
                connection_pool_maxsize=CONNECTIONS,
            )
        return Member(model.name, dimension, self._clients[model.host])

    def _address(self, host: str) -> str:
        """Where an index is; without encryption only where the control plane is so, too."""
        plain = self._credentials.host.startswith("http://")
        return f"http://{host.removeprefix('https://')}" if plain else host
