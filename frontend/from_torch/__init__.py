"""torch modules and .pt2 files, checked and imported operator by operator."""
