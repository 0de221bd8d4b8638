"""The search index: the EpisodeIndex contract, one file a backend, planning a re-index, and the live pointer."""
