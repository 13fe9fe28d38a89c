"""Retraining: what compression cost in accuracy is won back on the compressed network itself."""

from .lift import Lifted

__all__ = ["Lifted"]
