"""tvm_ffi, imported without torch.

tvm_ffi imports torch where it is installed, for fast paths that an app does not need; that costs
most of a second and hundreds of megabytes. So torch is hidden from this one import, in this one
thread; where it is imported already, nothing is hidden.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # tvm_ffi.Tensor, which is bound too late for a type checker


class _HideTorch(MetaPathFinder):
    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torch" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("hidden while tvm_ffi is imported", name="torch")


def _import_tvm_ffi() -> ModuleType:
    if "torch" in sys.modules:
        return importlib.import_module("tvm_ffi")
    hide = _HideTorch()
    sys.meta_path.insert(0, hide)
    try:
        return importlib.import_module("tvm_ffi")
    finally:
        sys.meta_path.remove(hide)


tvm_ffi = _import_tvm_ffi()
