"""The imported network: a Relax module whose weights are named and kept beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from tvm import IRModule, relax


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, shape and type of one input or output. Shapes are fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network ready for passes.

    `module["main"]` takes the inputs, then every weight, in the order of `weights`; its body is
    one dataflow block of high-level Relax operators in the source's own layout (NCHW, OIHW), batch
    norm folded. It returns one tensor, or a tuple of them. Weight names are the source's own
    (``layer1.0.conv1.weight``); a pass that splits a layer appends to them.
    """

    name: str
    module: IRModule
    weights: Mapping[str, np.ndarray]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        frozen = {name: _read_only(value) for name, value in self.weights.items()}
        object.__setattr__(self, "weights", MappingProxyType(frozen))
        params = self.function.params
        expected = len(self.inputs) + len(self.weights)
        assert len(params) == expected, f"main takes {len(params)} values, expected {expected}"

    @property
    def function(self) -> relax.Function:
        """The network's one function."""
        return self.module["main"]

    def weight_vars(self) -> dict[str, relax.Var]:
        """Give the function's parameter for each named weight."""
        params = self.function.params[len(self.inputs) :]
        return dict(zip(self.weights, params, strict=True))

    def weight_names(self) -> dict[relax.Var, str]:
        """Give the name of each weight parameter, by its variable."""
        return {var: name for name, var in self.weight_vars().items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle for another process: a mapping proxy cannot be."""
        fields = (self.name, self.module, dict(self.weights), self.inputs, self.outputs)
        return _rebuilt, fields

    def evolved(self, module: IRModule, weights: Mapping[str, np.ndarray]) -> Model:
        """Keep the network's interface, around another body and other weights."""
        return replace(self, module=module, weights=weights)


def _rebuilt(name: str, module: IRModule, weights: Any, inputs: Any, outputs: Any) -> Model:
    return Model(name=name, module=module, weights=weights, inputs=inputs, outputs=outputs)


def _read_only(value: np.ndarray) -> np.ndarray:
    view = np.ascontiguousarray(value).view()
    view.flags.writeable = False
    return view
