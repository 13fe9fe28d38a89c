"""Live costs: what calls take here and now, beside what was recorded when the library was made."""
