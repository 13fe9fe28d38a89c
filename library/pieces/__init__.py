"""A network in pieces: what a manifest says of them, their cells loaded, their combinations."""
