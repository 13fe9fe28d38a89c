"""Exported programs with free dimensions: their expressions checked, their shapes fixed."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree

from ...errors import ModelError, first_line
from ..shapes import Shapes, shapes_text

_SYMBOL = re.compile(r"s\d+")
_FUNCTIONS = frozenset({
    "Symbol", "Integer", "Add", "Mul", "Pow", "FloorDiv", "CleanDiv", "Mod", "PythonMod", "Max",
    "Min",
})  # fmt: skip
_MOST_CHARACTERS, _MOST_POWER = 2000, 4


def is_plain(expression: Any) -> bool:
    """Whether text is arithmetic of symbols and integers as torch writes it, and nothing else.

    torch has sympy evaluate such text as Python, so names, attributes, other calls, and powers
    whose value could be large are not plain.
    """
    if not isinstance(expression, str) or len(expression) > _MOST_CHARACTERS:
        return False
    try:
        return _is_plain(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def is_symbol(name: Any) -> bool:
    """Whether a name is one of torch's for a free dimension, and no expression."""
    return isinstance(name, str) and _SYMBOL.fullmatch(name) is not None


def _is_plain(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    name, arguments = node.func.id, node.args
    if name not in _FUNCTIONS:
        return False
    if name == "Symbol":
        flags = all(isinstance(each.value, ast.Constant) for each in node.keywords)
        return flags and len(arguments) == 1 and is_symbol(_constant(arguments[0]))
    if node.keywords:
        return False
    if name == "Integer":
        return len(arguments) == 1 and _integer(arguments[0]) is not None
    if name == "Pow" and not _is_small_power(arguments):
        return False
    return all(map(_is_plain, arguments))


def _is_small_power(arguments: Sequence[ast.expr]) -> bool:
    """Whether Pow(base, Integer(n)) has a small n and no other power within."""
    if len(arguments) != 2 or any(_calls(part, "Pow") for part in arguments):
        return False
    exponent = arguments[1]
    if not isinstance(exponent, ast.Call) or len(exponent.args) != 1:
        return False
    number = _integer(exponent.args[0])
    return number is not None and -_MOST_POWER <= number <= _MOST_POWER


def _calls(node: ast.expr, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _constant(node: ast.expr) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _integer(node: ast.expr) -> int | None:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    value = _constant(node.operand if isinstance(node, ast.UnaryOp) else node)
    if type(value) is not int or abs(value) >= 2**63:
        return None
    return -value if negative else value


def is_free(program: ExportedProgram) -> bool:
    """Whether any input has a free dimension."""
    return any(_is_free(extent) for _, shape in _inputs(program) for extent in shape)


def describe_free(program: ExportedProgram) -> str:
    """Say which inputs have free dimensions, and what to give: ids (s0, s1), …."""
    inputs = list(_inputs(program))
    listed = ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in inputs)
    example = {
        name: tuple(e if isinstance(e, int) else _least(program, e) for e in shape)
        for name, shape in inputs
    }
    options = " ".join(f"--shape {shapes_text({name: s})}" for name, s in example.items())
    return f"has free dimensions, {listed}; give shapes, for example {options}"


def check_inputs(program: ExportedProgram, name: str) -> None:
    """Refuse inputs that are no tensors: ModelError."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    for spec in program.graph_signature.input_specs:
        tensor = isinstance(values.get(spec.arg.name), torch.Tensor)
        if spec.kind is InputKind.USER_INPUT and not tensor:
            raise ModelError(
                f"{name}: input {spec.arg.name} is not a tensor; fix it before exporting"
            )


def fix_shapes(program: ExportedProgram, shapes: Shapes, name: str) -> ExportedProgram:
    """Export a program with free dimensions anew, with these shapes of its inputs.

    Raises:
        ModelError: no such input; extents that contradict each other, or are out of the range that
            the program was exported for.

    """
    check_inputs(program, name)
    values = {node.name: node.meta["val"] for node in placeholders(program)}
    wanted = _complete(program, shapes, name)
    try:
        examples = [torch.zeros(wanted[key], dtype=value.dtype) for key, value in values.items()]
        args, kwargs = _pytree.tree_unflatten(examples, program.call_spec.in_spec)
        return torch.export.export(program.module(), args, kwargs)
    except Exception as error:
        raise ModelError(
            f"{name} cannot have the shape {shapes_text(wanted)}: {first_line(error)}"
        ) from error


def _complete(program: ExportedProgram, shapes: Shapes, name: str) -> Shapes:
    """Every input's shape, the free ones from those given, or what contradicts."""
    inputs = dict(_inputs(program))
    for given in shapes:
        if given not in inputs:
            raise ModelError(f"{name} has no input {given!r}; it has {', '.join(inputs)}")
    extents: dict[Any, tuple[int, str]] = {}
    for key, shape in shapes.items():
        if len(inputs[key]) != len(shape):
            raise _misfit(name, key, inputs[key], shape)
        for axis, (extent, wanted) in enumerate(zip(inputs[key], shape, strict=True)):
            symbols = list(extent.node.expr.free_symbols) if _is_free(extent) else []
            if len(symbols) == 1:
                symbol = symbols[0]
                value = _solve(extent.node.expr, symbol, wanted)
                if value is None:
                    raise _misfit(name, key, inputs[key], shape)
                _bind(program, name, symbol, (value, f"axis {axis} of {key}"), extents)
    known = {symbol: extent for symbol, (extent, _) in extents.items()}
    found = {}
    for key, declared in inputs.items():
        shape = tuple(value for each in declared if (value := _value(each, known)) is not None)
        if len(shape) < len(declared):
            raise ModelError(
                f"{name}: input {key} has free dimensions ({', '.join(map(str, declared))}) that "
                f"no shape gives; add --shape {key}=…"
            )
        if shape != tuple(shapes.get(key, shape)):
            raise _misfit(name, key, declared, shapes[key])
        found[key] = shape
    return found


def _is_free(extent: Any) -> bool:
    return isinstance(extent, torch.SymInt)


def _solve(expression: Any, symbol: Any, wanted: int) -> int | None:
    """The whole number at which a * symbol + b is what is wanted; None where there is none."""
    at_zero, at_one = expression.subs(symbol, 0), expression.subs(symbol, 1)
    slope = at_one - at_zero
    if not slope or (wanted - at_zero) % slope:
        return None
    return int((wanted - at_zero) / slope)


def _bind(
    program: ExportedProgram,
    name: str,
    symbol: Any,
    given: tuple[int, str],
    extents: dict[Any, tuple[int, str]],
) -> None:
    """Note what a free dimension is, given as an extent and where that stands."""
    wanted, where = given
    before, other = extents.setdefault(symbol, given)
    if before != wanted:
        raise ModelError(
            f"{name}: {other} is {before} and {where} is {wanted}; they are one dimension, so give "
            "the same"
        )
    bounds = program.range_constraints.get(symbol)
    if bounds is not None and not bounds.lower <= wanted <= bounds.upper:
        upper = f"to {bounds.upper}" if bounds.upper < sys.maxsize else "on"
        raise ModelError(
            f"{name}: {where} was exported for extents from {max(1, bounds.lower)} {upper}; "
            f"{wanted} is out of that range"
        )


def _value(extent: Any, known: dict[Any, int]) -> int | None:
    if not _is_free(extent):
        return int(extent)
    value = extent.node.expr.subs(known)
    return int(value) if value.is_Integer else None


def _misfit(name: str, key: str, declared: Sequence[Any], shape: Sequence[int]) -> ModelError:
    listed = ", ".join(map(str, declared))
    return ModelError(f"{name}: input {key} is ({listed}); {tuple(shape)} does not fit it")


def _least(program: ExportedProgram, extent: torch.SymInt) -> int:
    bounds = program.range_constraints.get(extent.node.expr)
    least = 1 if bounds is None else max(1, int(bounds.lower))
    return max(least, extent.node.hint or 1)


def _inputs(program: ExportedProgram) -> Iterator[tuple[str, Sequence[Any]]]:
    for node in placeholders(program):
        value = node.meta.get("val")
        yield node.name, tuple(value.shape) if isinstance(value, torch.Tensor) else ()


def placeholders(program: ExportedProgram) -> list[fx.Node]:
    """The nodes of a program's inputs, weights left out."""
    wanted = set(program.graph_signature.user_inputs)
    return [n for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted]
