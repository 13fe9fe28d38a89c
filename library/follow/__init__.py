"""Adapting in the background: when a net is looked at, and when it may change."""
