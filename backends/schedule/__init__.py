"""How kernels run on a board: register tiles, vectors, threads."""
