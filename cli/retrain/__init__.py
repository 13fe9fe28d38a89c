"""`adaspring retrain`."""
