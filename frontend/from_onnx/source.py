"""An ONNX network, run by ONNX Runtime where it is installed, else by ONNX's own evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from ...errors import first_line
from ...ir.model import Model
from ..shapes import Shapes
from ..source import SourceFailure
from .importer import from_proto
from .widen import narrow_type

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class OnnxSource:
    """What an ONNX file says, as `read` gives it. `shapes` fixes free dimensions, by input."""

    def __init__(self, proto: ModelProto, path: Path, shapes: Shapes | None = None):
        self._proto, self._path, self._shapes = proto, path, shapes

    @cached_property
    def _runners(self) -> list[Run]:
        runners = []
        for make in (_onnx_runtime, _evaluator):
            if (runner := make(self._proto)) is not None:
                runners.append(runner)
        return runners

    @property
    def operators(self) -> Sequence[str]:
        """Type and name of each node."""
        nodes = self._proto.graph.node
        return [f"{node.op_type} (node {node.name or _outputs(node)[0]!r})" for node in nodes]

    @cached_property
    def narrow(self) -> str | None:
        """The narrowest type of float of 16 bits that the file names."""
        return narrow_type(self._proto)

    def run(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Compute the outputs; the second runner stands in where the first cannot."""
        held = {tensor.name for tensor in self._proto.graph.initializer}
        names = [value.name for value in self._proto.graph.input if value.name not in held]
        feeds, failures = dict(zip(names, inputs, strict=True)), []
        for run in list(self._runners):
            try:
                values = tuple(np.asarray(value) for value in run(feeds))
            except Exception as error:
                failures.append(first_line(error))
            else:
                del self._runners[: len(failures)]  # they cannot what this one can
                return values
        raise SourceFailure(failures[-1] if failures else "no runner could load it")

    def until(self, index: int) -> OnnxSource:
        """Keep the nodes that lead to the outputs of one."""
        nodes = list(self._proto.graph.node[: index + 1])
        wanted, kept = set(_outputs(nodes[-1])), []
        for node in reversed(nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted |= set(node.input) | _captured(node)
        proto = ModelProto()
        proto.CopyFrom(self._proto)
        del proto.graph.node[:], proto.graph.output[:]
        proto.graph.node.extend(reversed(kept))
        proto.graph.output.extend(map(helper.make_empty_tensor_value_info, _outputs(nodes[-1])))
        return OnnxSource(proto, self._path, self._shapes)

    def import_(self) -> Model:
        """Import it afresh."""
        proto = ModelProto()
        proto.CopyFrom(self._proto)
        return from_proto(proto, self._path, self._shapes)


def _outputs(node: NodeProto) -> list[str]:
    return [name for name in node.output if name]


def _captured(node: NodeProto) -> set[str]:
    """Name what the branches of a node read."""
    graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return {name for graph in graphs for inner in graph.node for name in inner.input}


def _onnx_runtime(proto: ModelProto) -> Run | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # an operator or a size that it does not take; the evaluator may
        return None
    return lambda feeds: session.run(None, feeds)


def _evaluator(proto: ModelProto) -> Run | None:
    try:
        evaluator = ReferenceEvaluator(proto)
    except Exception:  # an operator that it does not know
        return None
    return lambda feeds: evaluator.run(None, feeds)
