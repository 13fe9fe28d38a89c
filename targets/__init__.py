"""Boards as data: what a network is compiled for, tuned for and measured on."""

from __future__ import annotations

from .board import Affinity, Board, EnergyModel
from .catalogue import BOARDS, find, is_this_machine, names
from .detect import host, host_cuda, host_opencl, null
from .toml_board import load_board

__all__ = [
    "BOARDS",
    "Affinity",
    "Board",
    "EnergyModel",
    "find",
    "host",
    "host_cuda",
    "host_opencl",
    "is_this_machine",
    "load_board",
    "names",
    "null",
]
