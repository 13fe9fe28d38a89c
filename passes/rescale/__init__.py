"""Scales moved between layers, so that weights and activations quantize better."""
