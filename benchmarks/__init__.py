"""Benchmarks: one command each, against a named baseline that is measured in the same run."""
