"""`adaspring doctor`."""
