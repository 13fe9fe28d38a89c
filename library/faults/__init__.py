"""What contradicts itself in a manifest."""
