"""What runs on the host: leases, sessions, candidates timed over RPC."""
