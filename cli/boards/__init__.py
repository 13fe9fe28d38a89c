"""`adaspring boards`: serve, tracker, list, emulate."""
