"""The search index: the EpisodeIndex contract, its backends, planning a re-index, and the live pointer."""
