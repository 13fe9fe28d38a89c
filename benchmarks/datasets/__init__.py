"""Three data sets, small enough to train on in a minute, in parts that have no sample in common."""

from __future__ import annotations

from .cache import FOLDER
from .parts import Part, Parts, write_npz

__all__ = ["FOLDER", "Part", "Parts", "write_npz"]
