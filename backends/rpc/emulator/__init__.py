"""A 64-bit ARM board for machines without one: qemu-user, no root, nothing installed."""
