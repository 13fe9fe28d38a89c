"""The reference executor: a network's IR run in torch, sharing no code with the backends."""
