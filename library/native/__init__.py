"""The library's native part: one thread pool for the process (`pool.c`)."""
