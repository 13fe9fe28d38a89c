"""The search in the app: which cell of each segment for this moment."""
