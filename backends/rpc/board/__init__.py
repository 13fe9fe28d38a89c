"""What runs on a board: it registers at a tracker and serves one client after another."""
