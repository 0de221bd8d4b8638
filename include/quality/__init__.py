"""Data quality: the expectation suites and how they are run."""
