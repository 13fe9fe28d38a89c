"""What runs in the warm worker processes: build one candidate, time one candidate.

A worker imports TVM once and serves many candidates; a crash or a hang costs one candidate, and
the pool starts another worker. Nothing here is imported by the tuner's own process at work.
"""

from __future__ import annotations

_tensors: dict[tuple[tuple[int, ...], str, int], object] = {}


def start(thread_count: int) -> None:
    """Make this worker ready: TVM imported, the thread count set as an app sets it."""
    import tvm  # noqa: F401 - the point of a warm worker
    from adaspring.library.runtime import use_threads

    use_threads(thread_count)


def build_candidate(module_json: str, target_json: str, architecture: str, output: str) -> None:
    """Compile one scheduled function and link it to `output`."""
    import tvm
    from adaspring.backends.link import linker
    from tvm.target import Target

    module = tvm.ir.load_json(module_json)
    built = tvm.tirx.build(module, target=Target(target_json))
    built.export_library(output, fcompile=linker(architecture))


def time_candidate(code: str, arguments: list[tuple[tuple[int, ...], str]]) -> list[float]:
    """Seconds of one call, several times over, on this machine's CPU."""
    import tvm

    function = tvm.runtime.load_module(code)
    tensors = [_argument(shape, dtype, index) for index, (shape, dtype) in enumerate(arguments)]
    timer = function.time_evaluator("main", tvm.cpu(), number=1, repeat=3, min_repeat_ms=12)
    return [float(second) for second in timer(*tensors).results]


def _argument(shape: tuple[int, ...], dtype: str, index: int) -> object:
    """A tensor of small values, made once: subnormal or overflowing ones would time wrongly."""
    import numpy as np
    import tvm

    key = (shape, dtype, index)
    if key not in _tensors:
        values = np.random.default_rng(index).integers(0, 3, shape).astype(dtype)
        _tensors[key] = tvm.runtime.tensor(values)
    return _tensors[key]
