"""Measuring retrieval, deciding whether a model may go live, and reporting it."""
