"""The imported network: a Relax module whose weights are named and kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from tvm import IRModule, relax


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, shape and type of one input or output. Shapes are fixed.

    Where `channels_last`, compiled code takes or gives it as an image, channels last
    (`backends/lowering/layout.py`): so pieces of a network hand activations to each other.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    channels_last: bool = False


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network ready for passes.

    `module["main"]` takes the inputs, then every weight, in the order of `weights`; its body is
    one dataflow block of high-level Relax operators in the source's own layout (NCHW, OIHW), batch
    norm folded. It returns one tensor, or a tuple of them. Weight names are the source's own
    (``layer1.0.conv1.weight``); a pass that splits a layer appends to them. `notes` say what the
    import changed, a sentence each. `states` names the input and the output of each state that an
    app carries from call to call.
    """

    name: str
    module: IRModule
    weights: Mapping[str, np.ndarray]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()
    states: tuple[tuple[str, str], ...] = ()

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

    @property
    def batch(self) -> int:
        """How many samples one run takes (`batch_of`)."""
        return batch_of(self.inputs)

    def holds_batch(self, spec: TensorSpec) -> bool:
        """Whether the leading axis of an input or output counts the samples of a run."""
        return spec.shape[:1] == (self.batch,)

    def cut_runs(self, samples: Sequence[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Give each input (S, *shape) of S runs: `rows` (S, batch) says which samples they take."""
        return tuple(
            value[rows] if self.holds_batch(spec) else value[rows[:, 0]]
            for spec, value in zip(self.inputs, samples, strict=True)
        )

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
        return _rebuilt, (*fields, self.notes, self.states)

    def with_output_names(self, outputs: Sequence[TensorSpec]) -> Model:
        """The same network, its outputs named as others are."""
        pairs = zip(self.outputs, outputs, strict=True)
        return replace(
            self, outputs=tuple(replace(ours, name=theirs.name) for ours, theirs in pairs)
        )

    def evolved(self, module: IRModule, weights: Mapping[str, np.ndarray]) -> Model:
        """Keep the network's interface, around another body and other weights."""
        return replace(self, module=module, weights=weights)


def batch_of(inputs: Sequence[TensorSpec]) -> int:
    """How many samples one run takes: the leading extent of all inputs.

    Where they have none in common (a recurrent state of (layers, batch, width)) a run is one
    sample.
    """
    extents = {spec.shape[:1] for spec in inputs}
    return next(iter(extents))[0] if len(extents) == 1 and extents != {()} else 1


def sample_shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """Give the shape of one sample of an input: less the batch, where it holds that."""
    return spec.shape[1:] if spec.shape[:1] == (batch,) else spec.shape


def _rebuilt(
    name: str,
    module: IRModule,
    weights: Any,
    inputs: Any,
    outputs: Any,
    notes: tuple[str, ...],
    states: Any,
) -> Model:
    return Model(
        name=name,
        module=module,
        weights=weights,
        inputs=inputs,
        outputs=outputs,
        notes=notes,
        states=states,
    )


def _read_only(value: np.ndarray) -> np.ndarray:
    view = np.ascontiguousarray(value).view()
    view.flags.writeable = False
    return view
