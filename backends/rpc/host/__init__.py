"""The host's side of a board: leases, sessions, candidates timed over RPC."""
