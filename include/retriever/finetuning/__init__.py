"""Fine-tuning: from training pairs and a base model to a trained one, resumable, on one device or several."""
