"""Which generator the settings name, and making the one that a spec names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from include.queries.contract import MULTILINGUAL, GeneratorSpec, QueryGenerator
from include.settings.groups import Queries


def generator_of(settings: Queries) -> GeneratorSpec:
    """The generator that the settings name."""
    model, revision = _at_revision(settings.generator_model)
    multilingual, multilingual_revision = _at_revision(settings.generator_multilingual_model)
    return GeneratorSpec(
        name=settings.generator,
        model=model,
        revision=revision,
        multilingual_model=multilingual,
        multilingual_revision=multilingual_revision,
        engine=settings.generator_engine,
    )


def _at_revision(model: str) -> tuple[str, str | None]:
    """A model and its revision, of ``id@revision``; a folder may have an ``@`` in its name."""
    if Path(model).expanduser().exists():
        return model, None
    name, _, revision = model.partition("@")
    return name, revision or None


def create_generator(
    spec: GeneratorSpec, *, device: str = "cpu", threads: int = 0, cache: Path | None = None
) -> QueryGenerator:
    """The generator that a spec names. A model is loaded when it is first needed.

    :param device: ``cpu`` or ``cuda``.
    :param threads: threads for CPU work; 0 takes every core this process may run on.
    :param cache: folder for what is made of a model (default: beside the hub's own cache).
    """
    if spec.name == "doc2query":
        from include.queries.doc2query.generator import Doc2QueryGenerator
        from include.queries.routing import RoutedQueryGenerator

        open_generator = partial(Doc2QueryGenerator, device=device, threads=threads, cache=cache)
        if spec.multilingual_model in ("", spec.model):
            return open_generator(spec)
        other = spec.model_copy(update={"model": spec.multilingual_model, "revision": spec.multilingual_revision})
        return RoutedQueryGenerator(open_generator(spec), open_generator(other, name=MULTILINGUAL))
    from include.queries.extractive import ExtractiveQueryGenerator

    return ExtractiveQueryGenerator()
