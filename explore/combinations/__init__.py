"""What a combination of cells costs: which to measure, and what the others are predicted at."""
