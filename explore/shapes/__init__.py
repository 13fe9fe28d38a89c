"""One network at several shapes: imported, padded, its variants carried from the first to all."""
