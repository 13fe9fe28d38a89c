"""A prepared network, built with the schedules that are known, as a call on device tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from adaspring.backends.build import Prepared, build
from adaspring.backends.schedule.default import Best
from adaspring.library.weights import aligned_copy

Call = Callable[[Any], Any]


def executable(prepared: Prepared, best: Best | None, code: Path) -> Call:
    """Build to `code`; the call takes one input, on the board's device."""
    built, device = build(prepared, best, code), tvm.device(prepared.board.device)
    devices = [device] if device == tvm.cpu() else [device, tvm.cpu()]
    main = relax.VirtualMachine(tvm.runtime.load_module(str(built.code)), devices)["main"]
    weights = [tvm.runtime.tensor(aligned_copy(w), device) for w in built.weights.values()]
    return lambda x: main(x, weights)


def on_tensor(call: Call, x: np.ndarray) -> Call:
    """The call on a tensor that is there already: copying the sample is not what is timed."""
    tensor = tvm.runtime.tensor(x)
    return lambda _: call(tensor)
