"""The tracker: which boards are registered, and whether they answer."""
