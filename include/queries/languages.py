"""What language an episode is in, as far as it matters to the models that write queries."""

from __future__ import annotations

import re
from collections.abc import Mapping

from include.queries.scripts import LATIN


def is_english(language: str | None, scripts: Mapping[str, float]) -> bool:
    """Whether a text may be English.

    Languages that feeds give are often wrong, and often "English", or missing: letters tell, too.

    :param language: by its name or code ("English", "en-GB"); None where it is not known.
    :param scripts: the text's :func:`include.queries.scripts.script_shares`.
    """
    if scripts.get(LATIN, 0.0) < 0.5:
        return False
    name = re.split(r"[\W_]", (language or "english").strip().casefold(), maxsplit=1)[0]
    return name in {"english", "en", "eng"}
