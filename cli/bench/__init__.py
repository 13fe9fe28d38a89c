"""`adaspring bench`: latency, switching, profiles."""
