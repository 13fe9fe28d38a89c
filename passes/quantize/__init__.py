"""Quantization: int8, 16 bits, and low-bit weights under float activations."""
