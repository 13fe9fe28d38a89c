"""What the machine says of this moment: battery, memory, load, heat; read from /proc and /sys."""
