"""Pinecone's control plane: our family of indexes, one per dimension.

A Pinecone index has one dimension for all its namespaces. A model with another dimension gets an index beside the live
one, so that search continues until the new one is ready. So does everything created after an index of bare vectors,
which cannot search words.
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
from include.index.pinecone.bare import BareVectors
from include.index.pinecone.calls import ExistsError, MissingError, PineconeRequests
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.documents import METRIC, Documents, schema

if TYPE_CHECKING:
    from pinecone.models.indexes.index import IndexModel

log = logging.getLogger(__name__)

SUFFIX = "-words"
"""Of the indexes of documents."""
CONNECTIONS = 64
"""Connections per index; half of them stay open between requests."""
FAILED = {"InitializationFailed", "Terminating", "Disabled"}
MEND = "delete it, or set PODSEARCH_PINECONE_INDEX to another name."


@dataclass(frozen=True)
class PineconeIndexPart:
    """One index, and what it holds."""

    name: str
    dimension: int
    held: Documents | BareVectors

    @property
    def client(self) -> Index:
        return self.held.client


class PineconeIndexes:
    """The indexes ``NAME-DIMENSION-words`` of a project, and ``NAME-DIMENSION``, which have bare vectors.

    :param name: lower-case letters, digits and hyphens.
    """

    def __init__(self, name: str, credentials: Credentials, caller: PineconeRequests) -> None:
        self.name = name
        self._credentials = credentials
        self._caller = caller
        self._patience = caller.patience
        self._pinecone = caller.call(
            "opening it",
            partial(Pinecone, credentials.api_key.strip(), host=credentials.host, timeout=self._patience.request),
        )
        self._clients: dict[str, Index] = {}

    def members(self) -> list[PineconeIndexPart]:
        """The existing indexes, those of documents and of the smallest dimension first.

        :raises IndexMismatchError: one is not what its name says.
        """
        models = self._caller.call("listing indexes", lambda: list(self._pinecone.indexes.list()))
        named = re.compile(rf"{re.escape(self.name)}-(\d+)({SUFFIX})?")
        found = [(not match[2], int(match[1]), model) for model in models if (match := named.fullmatch(model.name))]
        return [
            self._member(model, dimension, bare=bare)
            for bare, dimension, model in sorted(found, key=lambda one: one[:2])
            if model.status.ready
        ]

    def ensure(self, dimension: int) -> PineconeIndexPart:
        """The index of documents for a dimension, created if needed, once it is ready.

        :raises IndexMismatchError: there is one of this name that does not fit.
        :raises RetryLaterError: it is not ready in time.
        """
        name = f"{self.name}-{dimension}{SUFFIX}"
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
        return self._member(model, dimension, bare=False)

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
                partial(
                    self._pinecone.indexes.create,
                    name=name,
                    schema=schema(dimension),
                    deployment=deployment,
                    timeout=-1,
                ),
            )
        except ExistsError:
            log.info("The index %s has been created meanwhile.", name)

    def _member(self, model: IndexModel, dimension: int, *, bare: bool) -> PineconeIndexPart:
        fields = model.schema.fields
        held = [(found.dimension, found.metric) for found in fields.values() if isinstance(found, DenseVectorField)]
        if held != [(dimension, METRIC)]:
            raise IndexMismatchError(
                f"Pinecone's index {model.name} must have {dimension} dimensions and the metric {METRIC}, but has "
                f"{', '.join(f'{number} and {metric}' for number, metric in held) or 'no vectors'}: {MEND}"
            )
        missing = set() if bare else schema(dimension)["fields"].keys() - fields.keys()
        if missing:
            raise IndexMismatchError(
                f"Pinecone's index {model.name} must have the fields {', '.join(sorted(missing))}, too: {MEND}"
            )
        if not model.host:
            raise RetryLaterError(f"Pinecone has no address for the index {model.name} yet.")
        if model.host not in self._clients:
            self._clients[model.host] = Index(
                host=self._address(model.host),
                api_key=self._credentials.api_key.strip(),
                timeout=self._patience.request,
                connection_pool_maxsize=CONNECTIONS,
            )
        client = self._clients[model.host]
        return PineconeIndexPart(model.name, dimension, BareVectors(client) if bare else Documents(client))

    def _address(self, host: str) -> str:
        """The address of an index; unencrypted only if the control plane is, too."""
        plain = self._credentials.host.startswith("http://")
        return f"http://{host.removeprefix('https://')}" if plain else host
