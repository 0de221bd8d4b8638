"""The Pinecone backend of the EpisodeIndex contract."""
