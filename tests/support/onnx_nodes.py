"""ONNX's own operator tests (onnx.backend.test): each imported in several forms and run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from adaspring.errors import AdaspringError
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.reference.executor import Reference


@dataclass(frozen=True)
class Outcome:
    """What came of one case: right, refused, or wrong with what was seen."""

    kind: str
    why: str


@cache
def cases() -> dict[str, dict[str, Any]]:
    """Give ONNX's cases by the operator that they test, each by its name."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for case in collect_testcases(None):
        if case.model is not None:
            operators = [node.op_type for node in case.model.graph.node]
            found[operators[0] if len(set(operators)) == 1 else "several"][case.name] = case
    return dict(sorted(found.items()))


def judge(case: Any, folder: Path) -> Outcome:
    """Try a case as it is, and with inputs that an exporter makes constants (axes, sizes) bound.

    One wrong form makes it wrong, one right form and no wrong one makes it right.
    """
    outcomes = [_judge(case, *form, folder / "node.onnx") for form in _forms(case)]
    for kind in ("wrong", "right"):
        for outcome in outcomes:
            if outcome.kind == kind:
                return outcome
    return outcomes[0] if outcomes else Outcome("refused", "it has no data")


def _forms(case: Any) -> Iterator[tuple[dict[str, Any], list[Any], frozenset[str]]]:
    names = [value.name for value in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        feeds = dict(zip(names, map(_value, inputs), strict=True))
        rest = [name for name in names[1:] if isinstance(feeds[name], np.ndarray)]
        integers = frozenset(name for name in rest if feeds[name].dtype.kind != "f")
        for bound in dict.fromkeys([frozenset[str](), integers, frozenset(rest)]):
            yield feeds, list(map(_value, outputs)), bound


def _value(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, list | None) else np.asarray(value)


def _judge(
    case: Any, feeds: dict[str, Any], wanted: list[Any], bound: frozenset[str], path: Path
) -> Outcome:
    onnx.save(_bind(case.model, feeds, bound), path)
    try:
        model = from_onnx(path)
    except AdaspringError as error:
        return Outcome("refused", str(error).removeprefix(str(path)))
    found = Reference(model).run(*(feeds[spec.name] for spec in model.inputs))
    for ours, right in zip(found, wanted, strict=True):
        if ours.shape != right.shape or ours.dtype != right.dtype:
            seen = f"{ours.dtype}{ours.shape} for {right.dtype}{right.shape}"
            return Outcome("wrong", f"{sorted(bound)} bound: {seen}")
        a, b = (value.astype("f8") if value.dtype.kind == "f" else value for value in (ours, right))
        if not np.allclose(a, b, rtol=case.rtol, atol=1e-5, equal_nan=b.dtype.kind == "f"):
            return Outcome("wrong", f"{sorted(bound)} bound: {a.ravel()[:4]} for {b.ravel()[:4]}")
    return Outcome("right", "")


def _bind(model: ModelProto, feeds: dict[str, Any], bound: frozenset[str]) -> ModelProto:
    made, kept = ModelProto(), []
    made.CopyFrom(model)
    for value in model.graph.input:
        array = feeds[value.name]
        if value.name in bound:
            made.graph.initializer.append(numpy_helper.from_array(array, value.name))
        elif isinstance(array, np.ndarray):
            kind = value.type.tensor_type.elem_type
            kept.append(helper.make_tensor_value_info(value.name, kind, array.shape))
        else:
            kept.append(value)
    del made.graph.input[:]
    made.graph.input.extend(kept)
    return made
