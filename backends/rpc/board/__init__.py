"""What runs on a board: a server that registers at a tracker and serves one client at a time."""
