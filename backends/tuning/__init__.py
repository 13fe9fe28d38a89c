"""Search for the fastest schedule of every function, by building and timing candidates."""
