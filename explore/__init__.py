"""What to try and what to keep: recipes, candidates, measuring, the gate; makes libraries."""
