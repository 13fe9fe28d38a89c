"""A network that keeps its states between calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ...errors import UsageError
from ..manifest import Signature, StateRecord, TensorSpec
from ..tensors import bind, checked_array
from ..weights import Array

Run = Callable[[Sequence[Array]], tuple[Array, ...]]


class Stream:
    """One sequence that is fed to a network call by call; made by `Net.stream`.

    A call takes the inputs that are no states and gives the outputs that are none; the states that
    it leaves are those of the next call, whichever variant runs it. Many streams may share a net;
    one stream is called by one thread at a time.
    """

    def __init__(
        self,
        run: Run,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        states: Sequence[StateRecord],
        initial: Mapping[str, Array],
    ) -> None:
        self._run, self._specs = run, tuple(inputs)
        kept = {state.input: state.output for state in states}
        self._kept = tuple(spec for spec in inputs if spec.name in kept)
        self.inputs = tuple(spec for spec in inputs if spec.name not in kept)
        self.outputs = tuple(spec for spec in outputs if spec.name not in kept.values())
        places = {spec.name: index for index, spec in enumerate(outputs)}
        self._places = {name: places[output] for name, output in kept.items()}
        self._given = tuple(places[spec.name] for spec in self.outputs)
        self._initial = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._kept}
        self._states: dict[str, Array] = {}
        self._calling = threading.Lock()
        self.reset(**initial)

    def __repr__(self) -> str:
        return f"<Stream of {', '.join(self._states)}>"

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a stream cannot be pickled or copied; hand on its states, and begin another with them"
        )

    @property
    def states(self) -> dict[str, Array]:
        """The states that the next call begins with, by the input's name; copies."""
        return {name: value.copy() for name, value in self._states.items()}

    def reset(self, **states: Array) -> None:
        """Go back to the initial states: those given now, else as before; zeros at first.

        Raises:
            UsageError: there is no such state. InputError: its shape or type is another.

        """
        known = {spec.name: spec for spec in self._kept}
        unknown = next((name for name in states if name not in known), None)
        if unknown is not None:
            raise UsageError(f"there is no state {unknown!r}; there are {', '.join(known)}")
        for name, value in states.items():
            checked_array(known[name], value, [Signature(inputs=self._kept, outputs=())])
        with self._turn():
            self._initial |= {name: value.copy() for name, value in states.items()}
            self._states = dict(self._initial)

    def __call__(self, *args: Array, **named: Array) -> Any:
        """Run the network on what this call brings, by position or by name, from where it was.

        Returns:
            A NumPy array, or a tuple of them where several outputs are no states.

        Raises:
            InputError: a wrong number, name, shape or type; the states stay as they were.
            UsageError: another thread is calling this stream, or the net is closed.

        """
        values = bind(self.inputs, args, named)
        taken = Signature(inputs=self.inputs, outputs=self.outputs)
        given = {
            spec.name: checked_array(spec, value, [taken])
            for spec, value in zip(self.inputs, values, strict=True)
        }
        with self._turn():
            whole = given | self._states
            made = self._run([whole[spec.name] for spec in self._specs])
            self._states = {name: made[place] for name, place in self._places.items()}
        results = tuple(made[place] for place in self._given)
        return results[0] if len(results) == 1 else results

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._calling.acquire(blocking=False):
            raise UsageError(
                "another thread is calling this stream; give each thread, and each sequence, a "
                "stream of its own"
            )
        try:
            yield
        finally:
            self._calling.release()
