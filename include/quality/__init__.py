"""Data quality: the expectation suites and how they run."""

from __future__ import annotations

import logging

# Importing Great Expectations logs hundreds of lines at INFO; in a task's log they would bury the result.
logging.getLogger("great_expectations").setLevel(logging.WARNING)
