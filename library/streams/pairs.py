"""Which output of a network is which input of the next call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ...errors import UsageError

_IN = ("", "_in", "_0", "0", "_old", "_prev")
_OUT = ("n", "_n", "_out", "_1", "_new", "_next")
_FRONT = (("", "new_"), ("", "next_"), ("", "out_"), ("", "updated_"))
_PAIRS = (("past_", "present_"), ("prev_", "next_"), ("in_", "out_"), ("old_", "new_"))


class Spec(Protocol):
    """An input or output, as a model or a manifest has it."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents."""

    @property
    def dtype(self) -> str:
        """The type of its elements, as NumPy names it."""


def pair_states(
    inputs: Sequence[Spec], outputs: Sequence[Spec], declared: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Give (input, output) of each state: those `declared`, else those that their names tell.

    By names: ``h`` and ``hn``, ``h_in`` and ``h_out``, ``past_k`` and ``present_k``, and their
    like, where exactly one output of the input's shape and type has such a name.

    Raises:
        UsageError: there is no such input or output, or its shape or type is another.

    """
    if not declared:
        return _by_name(inputs, outputs)
    for name, output in declared.items():
        _check(_find(name, inputs, "input"), _find(output, outputs, "output"))
    twice = next((o for o in declared.values() if list(declared.values()).count(o) > 1), None)
    if twice is not None:
        raise UsageError(f"the output {twice} is given to two states; each has one of its own")
    if len(declared) == len(inputs):
        raise UsageError("every input is given as a state; one must be what a call brings")
    return tuple(declared.items())


def _find(name: str, specs: Sequence[Spec], kind: str) -> Spec:
    for spec in specs:
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in specs)
    raise UsageError(f"a state names the {kind} {name!r}; the network's {kind}s are {names}")


def _check(given: Spec, made: Spec) -> None:
    if not _alike(given, made):
        raise UsageError(
            f"the state {given.name}={made.name} does not fit: {given.name} is {given.dtype} "
            f"{given.shape}, {made.name} is {made.dtype} {made.shape}"
        )


def _alike(given: Spec, made: Spec) -> bool:
    return (given.shape, given.dtype) == (made.shape, made.dtype)


def _by_name(inputs: Sequence[Spec], outputs: Sequence[Spec]) -> tuple[tuple[str, str], ...]:
    found: dict[str, list[str]] = {}
    for given in inputs:
        fits = [m.name for m in outputs if _alike(given, m) and _is_next(given.name, m.name)]
        if len(fits) == 1:
            found.setdefault(fits[0], []).append(given.name)
    pairs = {names[0]: output for output, names in found.items() if len(names) == 1}
    if len(pairs) == len(inputs):
        return ()
    return tuple((spec.name, pairs[spec.name]) for spec in inputs if spec.name in pairs)


def _is_next(given: str, made: str) -> bool:
    """Whether `made` is called as the next value of `given` is."""
    before, after = given.lower(), made.lower()
    if any(before == a + after.removeprefix(b) and after.startswith(b) and before.startswith(a)
           for a, b in (*_PAIRS, *_FRONT)):  # fmt: skip
        return True
    stems = {before.removesuffix(end) for end in _IN if before.endswith(end)}
    return any(after == stem + end for stem in stems if stem for end in _OUT)
