"""What the commands share: the answer, progress, tables, faults, samples."""
