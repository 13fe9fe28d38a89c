"""Factorization: a layer becomes several that need fewer multiply-adds."""
