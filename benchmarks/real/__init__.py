"""Networks that somebody trained, each with data and the metric that is its own."""
