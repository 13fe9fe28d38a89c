"""How good a variant is, how sure that is, and what makes it look worse than it is."""
