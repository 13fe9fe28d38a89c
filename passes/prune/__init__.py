"""Structured pruning: coupled channels are found, ranked, and sliced away together."""
