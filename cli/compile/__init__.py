"""`adaspring compile`."""
