"""A network that runs one variant at a time and switches between them.

Threads: `net(x)` may be called from several threads; calls of one variant take turns. A switch
never waits for a running call: that call ends on the variant it began with, the next one starts
on the new variant. Switches among themselves take turns.

Memory: all variants have their activations in one arena. A switch gives back the pages of weights
that the variant before alone reads; `drop_unused` and `close` give back the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn, cast

from ..errors import UsageError
from .context import Context
from .executable import Executable
from .follow.followed import Followed
from .live.meter import Meter
from .manifest import Manifest
from .pieces.variants import LoadedVariants
from .policies import Decide, Decision, Predicted
from .runtime import give_back_all, give_back_unused
from .shapes.choice import Choice
from .streams.stream import Stream
from .tensors import CPU, DEVICES, bind, borrowed_tensor, check_tensor, checked_array
from .weights import Array


@dataclass(frozen=True, kw_only=True)
class Switch(Decision):
    """A decision that was put in place: what ran before, and what it took.

    `decide_us` is the policy's time, `switch_ms` that of putting the variant in place: loading it,
    where it was not loaded ahead.
    """

    from_variant: str
    decide_us: float
    switch_ms: float

    @property
    def to_variant(self) -> str:
        """The variant that was decided for."""
        return self.variant


_DECIDED = tuple(field.name for field in fields(Decision))


class _Closed:
    """Stands where the variant was."""

    def __getattr__(self, name: str) -> NoReturn:
        raise UsageError("this net is closed; open another with library.open()")


class Net(Followed):
    """A network in use, of one library or of several; made by `Library.open`.

    `shapes` are those that it was compiled for, `inputs` and `outputs` of the first: name, shape
    and type of each; `variants` are the names that `use` takes. `close`, or the end of a `with`
    block, gives up the variants; a running call goes on.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        load: LoadedVariants,
        decide: Decide,
        variant: str,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(manifests, meter or Meter(manifests))
        manifest = manifests[0]  # of what is the same in all
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self._states = manifest.states
        self.variants = tuple(each.name for one in manifests for each in one.variants)
        self.shapes = manifest.signatures
        self._choice = Choice(self.shapes, manifest.padding)
        self._name = manifest.name
        self._load = load
        self._decide = decide
        self._devices = sorted({one.board.device for one in manifests})
        self._active = load(variant, 0)

    def __enter__(self) -> Net:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        now = "closed" if isinstance(self._active, _Closed) else f"runs {self.variant}"
        return f"<Net {self._name}: {now}, of {', '.join(self.variants)}>"

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a net cannot be pickled or copied; hand on the library's folder, and open it there "
            "with adaspring.load(folder).open()"
        )

    def close(self) -> None:
        """Give up the variants and what they hold; UsageError if it is called from then on."""
        self._stop_following()
        with self._switching:
            before = self._active
            self._active = self._load = self._decide = cast(Any, _Closed())
            if not isinstance(before, _Closed):
                before.give_back_weights(None)
            del before
            give_back_all()

    @property
    def variant(self) -> str:
        """Name of the variant that the next call runs."""
        return self._active.name

    def __call__(self, *args: Array, **named: Array) -> Any:
        """Run the network on NumPy arrays, by position or by name, at the shape that they have.

        Where the library was compiled with padding, smaller arrays are filled up to the next
        larger shape, and the outputs cut back.

        Returns:
            A NumPy array, or a tuple of them where the network has several outputs.

        Raises:
            InputError: a wrong number, name, shape or type. NaN passes.

        """
        start_s = time.perf_counter()
        values = bind(self.inputs, args, named)
        padded = self._choice.pad(values)
        if padded is not None:
            values = list(padded.inputs)
        index = self._choice.index_of(values)
        arrays = [
            checked_array(spec, value, self.shapes)
            for spec, value in zip(self.shapes[index].inputs, values, strict=True)
        ]
        outputs = self._run(index, arrays, start_s)
        if padded is not None:
            outputs = padded.cut(outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def stream(self, **states: Array) -> Stream:
        """Return a stream, which keeps the network's states from call to call.

        It begins with the `states` given, by the input's name, the others zero. Its calls run the
        variant that the net has at the time.

        Raises:
            UsageError: the library declares no states, or none of that name.
            InputError: a state of a wrong shape or type.

        """
        if not self._states:
            raise UsageError(
                f"the library of {self._name} declares no states; compile it with --state "
                "INPUT=OUTPUT, which says which output is which input of the next call"
            )
        return Stream(
            lambda arrays: self._run(0, arrays, time.perf_counter()),
            self.inputs,
            self.outputs,
            self._states,
            states,
        )

    def run_dlpack(self, *args: Any, **named: Any) -> Any:
        """Run on any objects with `__dlpack__`, on the board's device, without a copy or padding.

        Returns:
            A tensor, or a tuple of them, for `numpy.from_dlpack` or `torch.from_dlpack`.

        Raises:
            InputError: as for a call; also memory that is not contiguous or 64-byte aligned.
            UsageError: the net's libraries compute on several devices.

        """
        if len(self._devices) > 1:
            raise UsageError(
                f"this net computes on {' and '.join(self._devices)}, and run_dlpack copies "
                "nothing between them; call net(…) with NumPy arrays, or open one library alone"
            )
        start_s = time.perf_counter()
        values = bind(self.inputs, args, named)
        tensors = [
            borrowed_tensor(spec.name, value)
            for spec, value in zip(self.inputs, values, strict=True)
        ]
        index = self._choice.index_of(tensors)
        for spec, tensor in zip(self.shapes[index].inputs, tensors, strict=True):
            check_tensor(spec, tensor, self.shapes)
        executable = self._executable(index)
        outputs = executable.run(tensors)
        if DEVICES[self._devices[0]] == CPU:  # elsewhere the outputs are not waited for
            self._meter.note(executable.name, index, start_s)
        return outputs[0] if len(outputs) == 1 else outputs

    def _run(self, index: int, arrays: Sequence[Array], start_s: float) -> tuple[Array, ...]:
        executable = self._executable(index)
        outputs = executable.run_arrays(arrays)
        self._meter.note(executable.name, index, start_s)
        return outputs

    def _executable(self, index: int) -> Executable:
        """The active variant at a shape, loaded now where it was not."""
        active = self._active
        return active if index == 0 else self._load(active.name, index)

    def adapt(self, context: Context) -> Switch:
        """Choose the variant for a context and put it in place."""
        return self._switch(lambda now: self._decide(context, now))

    def use(self, variant: str) -> None:
        """Put a variant in place by name; UsageError lists the names where there is none."""
        self._switch(lambda _: _asked_for(variant))

    def _switch(self, decide: Callable[[str], Decision]) -> Switch:
        with self._switching:
            before = self._active.name
            start = time.perf_counter()
            decision = decide(before)
            decided = time.perf_counter()
            if decision.variant != before:
                self._put_in_place(decision.variant)
            switched = time.perf_counter()
        switch = Switch(
            **{name: getattr(decision, name) for name in _DECIDED},
            from_variant=before,
            decide_us=1e6 * (decided - start),
            switch_ms=1e3 * (switched - decided),
        )
        self._meter.switched(switch)
        return switch

    def _put_in_place(self, variant: str) -> None:
        """Let the next call run another variant; what only the last one needs is given back."""
        before, self._active = self._active, self._load(variant, 0)
        before.give_back_weights(self._active)
        give_back_unused()

    def drop_unused(self) -> None:
        """Give up every variant but the active one, and the memory of calls that have ended.

        For when memory is short: beside the weights it frees code and activations. A variant that
        is dropped is loaded again when it is used next, a millisecond or more each. A call that is
        under way ends on what it began with.

        Raises:
            UsageError: the net or its library is closed.

        """
        with self._switching:
            self._load.drop_all_but(self._active)
            give_back_all()


def _asked_for(variant: str) -> Decision:
    unknown = Predicted(metric=None, latency_ms=None, energy_mj=None, memory_bytes=None)
    return Decision(
        variant=variant,
        reason="asked for by name",
        relaxed=(),
        unchecked=(),
        missed=(),
        predicted=unknown,
    )
