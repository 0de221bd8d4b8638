"""The Pinecone backend of the VectorIndex contract."""
