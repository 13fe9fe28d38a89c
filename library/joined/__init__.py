"""Several libraries of one network, each for a board of its own, as one."""
