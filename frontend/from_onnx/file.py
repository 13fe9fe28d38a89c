"""ONNX files, read once they have been checked: nothing outside their folder, nothing damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx.inliner
from onnx import ModelProto, TensorProto

from ...errors import ModelError, first_line
from ...files.read import check_regular, memory_bytes
from .rewrite import expand_deprecated, sort_nodes


def read(path: Path) -> ModelProto:
    """Read a file whose parts lie inside its folder, with its local functions written out."""
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX file") from error
    if not proto.graph.node:
        raise ModelError(f"{path} is not an ONNX file, or its graph is empty")
    _check_external_data(path, proto)
    checked = expand_deprecated(sort_nodes(proto))
    try:
        onnx.checker.check_model(path if checked is proto else checked)
        onnx.load_external_data_for_model(checked, str(path.parent))
    except Exception as error:
        raise ModelError(f"{path} is not a valid ONNX model: {first_line(error)}") from error
    return onnx.inliner.inline_local_functions(checked) if checked.functions else checked


def _check_external_data(path: Path, proto: ModelProto) -> None:
    folder = path.parent.resolve()
    for tensor in _tensors(proto):
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            try:
                target = (folder / entry.value).resolve()
            except (OSError, ValueError, RuntimeError) as error:  # a loop of links is the last
                raise ModelError(
                    f"{path}: the data of {tensor.name!r} are at no path ({error})"
                ) from error
            if not target.is_relative_to(folder):
                raise ModelError(
                    f"{path}: the data of {tensor.name!r} lie outside the model's folder "
                    f"({entry.value}); save the model with its data beside it"
                )
            if not os.path.isfile(target):
                raise ModelError(
                    f"{path}: the data of {tensor.name!r} are missing; "
                    f"put {entry.value} beside the model"
                )
            todo = f"put {entry.value} beside the model"
            check_regular(target, ModelError, todo, most_bytes=memory_bytes())


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    graphs = [proto.graph]
    yield from (a.t for f in proto.functions for n in f.node for a in n.attribute)
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for attribute in (a for node in graph.node for a in node.attribute):
            yield attribute.t
            yield from attribute.tensors
            graphs.extend(attribute.graphs)
            if attribute.HasField("g"):
                graphs.append(attribute.g)
