"""Schedules as text: a trace's key, and a trace made from JSON without running it.

MetaSchedule reads a trace by replaying it on its function, some 10 ms each. The instructions can
be put together as they stand in a thirtieth of that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import msgspec
from tvm import IRModule
from tvm.s_tir.schedule import Instruction, InstructionKind, LoopRV, SBlockRV, Trace
from tvm.tirx import Var

from ...schedule.contraction import new_schedule
from .lines import check_depth

_INDEX_DTYPE = "int32"  # as the schedule's own variables have


def trace_key(trace: Trace) -> str:
    """The same text for the same schedule, whether made now or read from a file."""
    return "\n".join(str(line) for line in trace.as_python())


def trace_as_json(trace: Trace) -> bytes:
    """The trace as MetaSchedule writes it."""
    return msgspec.json.encode(trace.as_json(), enc_hook=_plain)


def _plain(value: Any) -> Any:
    """A text or a number of TVM's as one of Python's."""
    return str(value) if isinstance(value, str) else value.value


def trace_from_json(text: bytes, module: IRModule) -> Trace:
    """The trace that a record holds as JSON, of a schedule of `module`."""
    json = msgspec.json.decode(text)
    instructions, decisions = json
    if any(_holds_objects(inputs) or _holds_objects(attrs) for _, inputs, attrs, _ in instructions):
        return _replay(json, module)
    variables: dict[str, Any] = {"None": None}
    made = []
    for kind, inputs, attrs, outputs in instructions:
        used = [_argument(value, variables) for value in inputs]
        defined = [_variable(name) for name in outputs]
        variables.update(zip(outputs, defined, strict=True))
        made.append(Instruction(_kind(kind), used, attrs, defined))
    return Trace(made, {made[position]: decision for position, decision in decisions})


def _holds_objects(values: Any) -> bool:
    """Whether there are TVM objects in JSON of their own, such as the index map of a layout."""
    if isinstance(values, list):
        return any(_holds_objects(value) for value in values)
    return isinstance(values, dict) or (isinstance(values, str) and values.startswith("{"))


def _replay(json: Any, module: IRModule) -> Trace:
    for inner in _strings(json):
        check_depth(inner.encode())
    sch = new_schedule(module["main"])
    Trace.apply_json_to_schedule(json, sch)
    return sch.trace


def _strings(json: Any) -> Iterator[str]:
    """Every text in JSON, where TVM may have put JSON of its own."""
    if isinstance(json, str):
        yield json
    elif isinstance(json, list | dict):
        for inner in json.values() if isinstance(json, dict) else json:
            yield from _strings(inner)


def _argument(value: Any, variables: dict[str, Any]) -> Any:
    """An input: a list of inputs, a number, a "quoted" text, or the name of a variable."""
    if isinstance(value, list):
        return [_argument(element, variables) for element in value]
    if not isinstance(value, str):
        return value
    return value[1:-1] if value.startswith('"') else variables[value]


def _variable(name: str) -> Any:
    if name.startswith("b"):
        return SBlockRV()
    return LoopRV() if name.startswith("l") else Var(name, _INDEX_DTYPE)


@functools.cache
def _kind(name: str) -> InstructionKind:
    return InstructionKind.get(name)
