"""What a process needs to compute on a board's device, and whether that device is here."""
