"""How good a network is, how sure that is, and what makes it look worse than it is."""
