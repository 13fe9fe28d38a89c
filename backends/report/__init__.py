"""What lowered functions compute and need, and what a processor can do at most."""
