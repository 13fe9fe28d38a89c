"""Training after compression: one recipe, or all of them on shared weights."""
