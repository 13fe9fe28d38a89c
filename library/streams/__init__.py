"""Networks that are called step by step: what one call gives back is the next one's input."""
