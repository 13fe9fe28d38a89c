"""One run of training: what tells it from others, how long it may take, where it is."""
