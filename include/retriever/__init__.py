"""The retriever: training pairs, fine-tuning, encoding, and the registry of model versions."""
