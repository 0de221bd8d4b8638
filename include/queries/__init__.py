"""Training queries: the QueryGenerator contract, one file a generator, and the filter every query passes."""
