"""Kernels that we write and schedule ourselves: packed contractions and depthwise convolutions."""
