"""Measured schedules of one board: append-only files, read, merged, compacted."""
