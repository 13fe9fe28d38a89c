"""One board: where it is, and how its variants are tuned and compiled."""
