"""A network in pieces: what becomes of each, what combinations of them cost, and which may run."""
