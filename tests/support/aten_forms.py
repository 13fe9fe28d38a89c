"""Forms in which ATen operators are imported: a network of one operator and its inputs each.

Shared by the tests that run them in the reference executor and those that build them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaspring.frontend.from_torch.importer import from_torch
from adaspring.reference.executor import Reference

from .networks import Fn


@dataclass(frozen=True)
class Form:
    """A function of (module, *inputs), its inputs, and the module's parts."""

    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    parts: dict[str, Any] = field(default_factory=dict)

    def network(self) -> nn.Module:
        return Fn(self.function, **self.parts).eval()


def form(function: Callable[..., Any], *inputs: Tensor, **parts: Any) -> Form:
    """Of a function of the inputs alone, or of (module, *inputs) where there are parts."""
    if parts:
        return Form(function, inputs, parts)
    return Form(lambda s, *x: function(*x), inputs)


def floats(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def positive(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.1


def integers(low: int, high: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, shape, generator=generator, dtype=dtype)


def outputs_of(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[np.ndarray]:
    with torch.no_grad():
        y = network(*(x.clone() for x in inputs))
    return [t.detach().numpy() for t in (y if isinstance(y, tuple | list) else (y,))]


def check(network: nn.Module, inputs: tuple[Tensor, ...], tolerance: float = 1e-5) -> None:
    """Import it, run it in the reference executor, and compare shapes, types and values."""
    wanted = outputs_of(network, inputs)
    model = from_torch(network, inputs, name="form")
    found = Reference(model).run(*(x.numpy() for x in inputs))
    assert [spec.dtype for spec in model.outputs] == [str(w.dtype) for w in wanted]
    assert_equal(found, wanted, tolerance)


def assert_equal(found: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    """The same shapes and types; integers and booleans the same, floats nearly."""
    assert [(f.shape, f.dtype) for f in found] == [(w.shape, w.dtype) for w in wanted]
    for got, want in zip(found, wanted, strict=True):
        if want.dtype.kind == "f":
            scale = np.abs(want[np.isfinite(want)]).max(initial=1.0)
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)
        else:
            np.testing.assert_array_equal(got, want)
