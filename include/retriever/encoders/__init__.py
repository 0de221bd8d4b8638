"""What turns texts into vectors: one contract, PyTorch for every model, CTranslate2 for the usual ones on a CPU."""
