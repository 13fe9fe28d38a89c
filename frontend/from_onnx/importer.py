"""ONNX files, imported through TVM once they have been checked."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper
from tvm import IRModule, relax
from tvm.relax.frontend.onnx import onnx_frontend

from ...errors import ModelError, UnsupportedOperator
from ...files.read import check_regular, memory_bytes
from ...ir.edit import has_fixed_shape, op_name, reads
from ...ir.model import Model
from ..canonical import canonicalize
from . import operators, quantized
from .constants import fold_constants
from .operators import PADDED, refuse, same_padding

OWN = operators.OWN | quantized.OWN
Shapes = Mapping[str, tuple[int, ...]]

_OLDEST_OPSET = 7  # before it, broadcasting was an attribute
_INPUT_TYPES = (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64)
_NOT_PLAIN = ("call_tir", "shape_of", "shape_to_tensor", "tensor_to_shape")
_BRANCHING = ("If", "Loop", "Scan")


def from_onnx(path: Path | str, shapes: Shapes | None = None) -> Model:
    """Import an ONNX file. `shapes` fixes the free dimensions of inputs, by the input's name."""
    path = Path(path)
    proto = _read(path)
    quantized.rewrite_as_qdq(path, proto)
    _check_graph(path, proto)
    inputs = _inputs(path, proto, shapes or {})
    try:
        names = quantized.integer_names(path, proto)
        proto = fold_constants(proto)
        module = _convert(path, proto, inputs)
    except UnsupportedOperator:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be imported: {_first_line(error)}") from error
    initializers = [(t.name, numpy_helper.to_array(t)) for t in proto.graph.initializer]
    return canonicalize(
        module,
        initializers,
        names,
        name=path.stem,
        input_names=list(inputs),
        output_names=[output.name for output in proto.graph.output],
    )


def _read(path: Path) -> ModelProto:
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX file") from error
    if not proto.graph.node:
        raise ModelError(f"{path} is not an ONNX file, or its graph is empty")
    _check_external_data(path, proto)
    try:
        onnx.checker.check_model(path)
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:
        raise ModelError(f"{path} is not a valid ONNX model: {_first_line(error)}") from error
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


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


def _check_graph(path: Path, proto: ModelProto) -> None:
    opset = _opset(proto)
    if opset < _OLDEST_OPSET:
        raise ModelError(f"{path} has opset {opset}; export it with opset {_OLDEST_OPSET} or newer")
    if proto.graph.sparse_initializer:
        raise ModelError(f"{path} has sparse weights; export it with dense ones")
    known = onnx_frontend._get_convert_map()
    for node in proto.graph.node:
        where = f"{path}: operator {node.op_type} (node {_node_name(node)!r})"
        if (why := quantized.why_refused(node)) is not None:
            raise UnsupportedOperator(f"{where} cannot be imported: {why}")
        if node.op_type == "Attention":  # TVM takes it for the one of com.microsoft
            raise UnsupportedOperator(f"{where} cannot be imported; export with opset 22 or older")
        if node.op_type in _BRANCHING:
            raise UnsupportedOperator(f"{where}: branches and loops cannot be imported")
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedOperator(
                f"{where} is in the domain {node.domain}; only standard ONNX can be imported"
            )
        if node.op_type not in known and node.op_type not in ("Constant", *OWN):
            raise UnsupportedOperator(f"{where} cannot be imported")


def _opset(proto: ModelProto) -> int:
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)


def _node_name(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else "")


def _inputs(path: Path, proto: ModelProto, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Fix each input's shape, in `proto` too; inputs that are weights are dropped from it."""
    held = {tensor.name for tensor in proto.graph.initializer}
    real = [value for value in proto.graph.input if value.name not in held]
    del proto.graph.input[:]
    proto.graph.input.extend(real)
    names = [value.name for value in real]
    for name in shapes:
        if name not in names:
            raise ModelError(f"{path} has no input {name!r}; it has {', '.join(names)}")
    fixed = {value.name: _fixed_shape(path, value, shapes.get(value.name)) for value in real}
    for value in proto.graph.input:
        value.CopyFrom(
            helper.make_tensor_value_info(
                value.name, value.type.tensor_type.elem_type, fixed[value.name]
            )
        )
    return fixed


def _fixed_shape(
    path: Path, value: ValueInfoProto, wanted: tuple[int, ...] | None
) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _INPUT_TYPES:
        found = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ModelError(f"{path}: input {value.name} is {found}; only float32 and integers work")
    dims = [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in tensor.shape.dim]
    free = [d for d in dims if not isinstance(d, int)]
    if wanted is None:
        if free or not tensor.HasField("shape"):
            raise ModelError(_free_shape_message(path, value.name, dims))
        return tuple(d for d in dims if isinstance(d, int))
    if tensor.HasField("shape"):
        fits = len(dims) == len(wanted) and all(
            not isinstance(d, int) or d == w for d, w in zip(dims, wanted, strict=True)
        )
        if not fits:
            given = ",".join(map(str, dims))
            raise ModelError(f"{path}: input {value.name} is ({given}); {wanted} does not fit it")
    if min(wanted, default=1) < 1:
        raise ModelError(f"{path}: input {value.name}: {wanted} is not a shape")
    return tuple(wanted)


def _free_shape_message(path: Path, name: str, dims: list[Any]) -> str:
    example = tuple(d if isinstance(d, int) else 1 for d in dims)
    option = ",".join(map(str, example))
    return (
        f"{path}: input {name} has no fixed shape ({', '.join(map(str, dims))}); give one, for "
        f'example shapes={{"{name}": {example}}} or --shape {name}={option}'
    )


class _Importer(onnx_frontend.ONNXGraphImporter):
    """TVM's importer with our own operators, and errors that name the node."""

    path: Path
    checked: set[relax.Var]

    def _convert_operator(
        self, operator: str, inputs: list[Any], attrs: dict[str, Any], opset: int
    ) -> relax.Expr:
        held = [self._nodes, self._params]
        try:
            refuse(operator, attrs, inputs[0].ty.ndim if inputs and inputs[0] is not None else 0)
            if operator in PADDED:
                same_padding(inputs[0], inputs[1], attrs)
            result = OWN[operator](inputs, attrs, held) if operator in OWN else None
            if result is None:
                result = super()._convert_operator(operator, inputs, attrs, opset)
            result = self.bb.normalize(result)
            self._check(result)
        except Exception as error:
            node = attrs["tvm_custom"]["name"]
            raise UnsupportedOperator(
                f"{self.path}: operator {operator} (node {node!r}) cannot be imported: "
                f"{_first_line(error)}"
            ) from error
        return result

    def _check(self, result: relax.Expr) -> None:
        """Refuse kernels, and shapes that are computed as the network runs."""
        for ty in result.ty.fields if isinstance(result.ty, relax.TupleType) else [result.ty]:
            if isinstance(ty, relax.TensorType) and not has_fixed_shape(ty):
                raise ValueError("the shape of its output is not known at import")
        pending = list(reads(result))
        while pending:
            var = pending.pop()
            if var not in self.checked:
                self.checked.add(var)
                value = self.bb.lookup_binding(var)
                if isinstance(value, relax.Call) and op_name(value) in ("", *_NOT_PLAIN):
                    raise ValueError("it needs a shape or a kernel that is only known at run time")
                pending.extend(reads(value))


def _convert(path: Path, proto: ModelProto, inputs: dict[str, tuple[int, ...]]) -> IRModule:
    shapes = {name: list(shape) for name, shape in inputs.items()}
    importer = _Importer(shapes, None, keep_params_in_input=True, sanitize=False)
    importer.path, importer.checked = path, set()
    with contextlib.redirect_stdout(io.StringIO()):  # the importer prints what it raises
        try:
            return importer.from_onnx(proto.graph, _opset(proto))
        except UnsupportedOperator:
            importer.bb._end_block()  # or TVM reports on stderr that one was left open
            raise


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
