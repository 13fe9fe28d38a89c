"""A library's shapes: which of them a call has, and how inputs are padded to the next larger."""
