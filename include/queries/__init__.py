"""Training queries: the QueryGenerator contract, the generators, and the filter that every query passes."""
