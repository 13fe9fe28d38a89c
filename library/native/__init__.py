"""The library's native part: the process's thread pool (`pool.c`) and arena (`arena.c`)."""
