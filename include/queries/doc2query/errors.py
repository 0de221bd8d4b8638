"""What can be wrong with a query generator's model."""

from __future__ import annotations

from include.errors import PermanentError


class GeneratorModelError(PermanentError):
    """The model cannot be had, or cannot be used; the message says what to do."""
