"""Encoders, which turn texts into vectors: one contract, PyTorch for every model, CTranslate2 for common ones on a
CPU."""
