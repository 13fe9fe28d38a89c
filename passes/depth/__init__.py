"""Depth scaling: residual blocks that change the outputs least are left out."""
