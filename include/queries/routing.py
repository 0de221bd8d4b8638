"""Two generators, of which each writes for the languages that it knows."""

from __future__ import annotations

from collections.abc import Sequence

from include.queries.contract import Passage, Query, QueryGenerator
from include.queries.languages import is_english
from include.queries.scripts import script_shares


class RoutedQueryGenerator:
    """Sends English passages to one generator and all others to another, whose model is loaded when one comes.

    :param english: knows English best.
    :param multilingual: knows other languages.
    """

    def __init__(self, english: QueryGenerator, multilingual: QueryGenerator) -> None:
        self.name = english.name
        self.chunk = english.chunk
        self._generators = {True: english, False: multilingual}

    @property
    def tokens(self) -> int:
        """See :class:`include.queries.contract.QueryGenerator`."""
        return sum(generator.tokens for generator in self._generators.values())

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        """See :class:`include.queries.contract.QueryGenerator`."""
        english = [is_english(passage.language, script_shares(passage.text())) for passage in passages]
        queries: list[list[Query]] = [[] for _ in passages]
        for route, generator in self._generators.items():
            own = [at for at, answer in enumerate(english) if answer is route]
            if own:
                written = generator.generate([passages[at] for at in own], n, seed)
                for at, result in zip(own, written, strict=True):
                    queries[at] = result
        return queries
