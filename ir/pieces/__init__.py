"""Parts of a network as networks, and networks of parts."""
