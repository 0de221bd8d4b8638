"""What a clean-up removed, or would remove."""

from __future__ import annotations

import logging

from pydantic import BaseModel

log = logging.getLogger(__name__)


class Removed(BaseModel):
    """How much of one kind."""

    items: int = 0
    bytes: int = 0


class Summary(BaseModel):
    """Items and bytes of each kind, of those kinds only that had any."""

    dry_run: bool
    kinds: dict[str, Removed] = {}

    def add(self, kind: str, size: int) -> None:
        """Count one item."""
        counted = self.kinds.setdefault(kind, Removed())
        counted.items += 1
        counted.bytes += size

    def say(self) -> None:
        """Write it to the log, a line a kind."""
        done = "Would remove" if self.dry_run else "Removed"
        for kind, counted in sorted(self.kinds.items()):
            log.info("%s %s: %s, %.1f MB.", done, kind, f"{counted.items:,}", counted.bytes / 1e6)
        if not self.kinds:
            log.info("%s nothing.", done)
