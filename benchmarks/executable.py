"""A benchmark's network, lowered in its forms and built as a call on device tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from networks import models
from tvm import relax

from adaspring.backends.build import Prepared, build, prepare
from adaspring.backends.conv_algorithms import alternatives, fastest
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.schedule.default import Best
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.search.transfer import fastest_known
from adaspring.library.weights import aligned_copy
from adaspring.passes import SixteenBit, run
from adaspring.targets import Board

Call = Callable[[Any], Any]


def forms_of(kind: type, board: Board, log: TuningLog) -> dict[str, Prepared]:
    """A benchmark's network lowered in each precision that the processor multiplies."""
    dense, quantized = models(kind)
    forms = {
        "fp32": fastest(alternatives(dense, board), fastest_known(log)),
        "int8": prepare(quantized, board),
    }
    if instruction_set(board).bfloat16 is None:
        print("left out: bf16, which this processor has no instruction for")
        return forms
    return forms | {"bf16": prepare(run(dense, (SixteenBit(),), None).model, board)}


def executable(prepared: Prepared, best: Best | None, code: Path) -> Call:
    """Build to `code`; the call takes one input, on the board's device."""
    built, device = build(prepared, best, code), tvm.device(prepared.board.device)
    devices = [device] if device == tvm.cpu() else [device, tvm.cpu()]
    main = relax.VirtualMachine(tvm.runtime.load_module(str(built.code)), devices)["main"]
    weights = [tvm.runtime.tensor(aligned_copy(w), device) for w in built.weights.values()]
    return lambda x: main(x, weights)


def tensors_of(call: relax.Call) -> list[Any]:
    """What a call of a function reads and writes; subnormal or overflowing values time wrongly."""
    written = getattr(call.ty, "fields", [call.ty])
    random, found = np.random.default_rng(0), []
    for ty in (*(value.ty for value in call.args[1].fields), *written):
        values = random.integers(0, 3, tuple(int(extent) for extent in ty.shape.values))
        found.append(tvm.runtime.tensor(aligned_copy(values.astype(str(ty.dtype)))))
    return found


def on_tensor(call: Call, x: np.ndarray) -> Call:
    """The call on a tensor that is there already: copying the sample is not what is timed."""
    tensor = tvm.runtime.tensor(x)
    return lambda _: call(tensor)
