"""Queries that a T5 writes (doc2query, https://arxiv.org/abs/1904.08375): loading it, sampling, two engines for it."""
