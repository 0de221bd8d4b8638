"""The search index: the VectorIndex contract, one file a backend, planning a re-index, and the live pointer."""
