"""ONNX files, imported through TVM once they have been checked."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx.inliner
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper
from tvm import IRModule, relax
from tvm.relax.frontend.onnx import onnx_frontend

from ...errors import ModelError, UnsupportedOperator, first_line
from ...ir.edit import has_fixed_shape, op_name, reads
from ...ir.model import Model
from ..canonical import canonicalize, note_of
from ..shapes import Shapes
from . import control_flow, operators, quantized
from .constants import fold_constants
from .file import read
from .free_dimensions import complete
from .operators import recurrent
from .operators.spatial import same_padding
from .rewrite import drop_unread_outputs, expand, opset_of
from .table import OF_CONSTANTS, RECURRENT, why_refused
from .widen import narrow_type, widen

OWN = operators.OWN | quantized.OWN

_OLDEST_OPSET = 7  # before it, broadcasting was an attribute
_INPUT_TYPES = (
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BOOL),
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
    *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
)
_COMPUTED = (
    *("float16", "bfloat16", "float32", "float64", "bool", "uint8", "uint16", "uint32", "uint64"),
    *("int8", "int16", "int32", "int64"),
)
_NOT_PLAIN = ("call_tir", "shape_of", "shape_to_tensor", "tensor_to_shape")


def from_onnx(path: Path | str, shapes: Shapes | None = None) -> Model:
    """Import an ONNX file. `shapes` fixes the free dimensions of inputs, by the input's name."""
    path = Path(path)
    return from_proto(read(path), path, shapes)


def from_proto(proto: ModelProto, path: Path, shapes: Shapes | None = None) -> Model:
    """Import what a file holds; `proto` is used up."""
    _check_version(path, proto)
    if control_flow.branches(proto):
        _inputs(path, proto, shapes or {})
        control_flow.resolve(path, proto)
    narrow = narrow_type(proto)
    proto = proto if narrow is None else widen(proto)
    quantized.rewrite_as_qdq(path, proto)
    drop_unread_outputs(proto)
    proto = expand(proto)
    _check_graph(path, proto, OF_CONSTANTS)
    inputs = _inputs(path, proto, shapes or {})
    try:
        names = quantized.integer_names(path, proto)
        proto = fold_constants(proto)
        _check_graph(path, proto)
        module = _convert(path, proto, inputs, names)
    except UnsupportedOperator:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be imported: {first_line(error)}") from error
    initializers = [(t.name, numpy_helper.to_array(t)) for t in proto.graph.initializer]
    return canonicalize(
        module,
        initializers,
        names,
        name=path.stem,
        input_names=list(inputs),
        output_names=[output.name for output in proto.graph.output],
        notes=() if narrow is None else (note_of(narrow),),
    )


def _check_version(path: Path, proto: ModelProto) -> None:
    opset = opset_of(proto)
    if opset < _OLDEST_OPSET:
        raise ModelError(f"{path} has opset {opset}; export it with opset {_OLDEST_OPSET} or newer")
    if proto.graph.sparse_initializer:
        raise ModelError(f"{path} has sparse weights; export it with dense ones")


def _check_graph(path: Path, proto: ModelProto, folded: Sequence[str] = ()) -> None:
    """Refuse what has no translation; operators in `folded` may yet turn out to be constant."""
    opset = opset_of(proto)
    for node in proto.graph.node:
        where = f"{path}: operator {node.op_type} (node {_node_name(node)!r})"
        if (why := quantized.why_refused(node)) is not None:
            raise UnsupportedOperator(f"{where} cannot be imported: {why}")
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedOperator(
                f"{where} is in the domain {node.domain}; only standard ONNX can be imported"
            )
        if node.op_type not in folded and (why := why_refused(node, opset)) is not None:
            raise UnsupportedOperator(f"{where} cannot be imported: {why}")


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
    if not real:
        raise ModelError(f"{path} has no inputs: whatever it computes is a constant")
    shapes = complete(path, real, shapes)
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
        raise ModelError(
            f"{path}: input {value.name} is {found}; inputs can be float16, float32, float64, "
            "bool and integers of 8 to 64 bits; cast it inside the network"
        )
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
    names: dict[bytes, str]

    def _check_for_unsupported_ops(self, graph: onnx.GraphProto) -> None:
        """Leave it to the table, which knows more than TVM does."""

    def _convert_operator(
        self, operator: str, inputs: list[Any], attrs: dict[str, Any], opset: int
    ) -> relax.Expr:
        held = [self._nodes, self._params]
        attrs["tvm_custom"]["opset"] = opset
        try:
            if operator == "Conv":
                same_padding(inputs[0], inputs[1], attrs)
            result = OWN[operator](inputs, attrs, held) if operator in OWN else None
            if operator in RECURRENT:
                result = recurrent.convert(operator, inputs, attrs, held, self.names)
            if result is None:
                result = super()._convert_operator(operator, inputs, attrs, opset)
            result = self.bb.normalize(result)
            self._check(result)
        except Exception as error:
            node = attrs["tvm_custom"]["name"]
            raise UnsupportedOperator(
                f"{self.path}: operator {operator} (node {node!r}) cannot be imported: "
                f"{first_line(error)}"
            ) from error
        return result

    def _check(self, result: relax.Expr) -> None:
        """Refuse kernels, and shapes that are computed as the network runs."""
        for ty in result.ty.fields if isinstance(result.ty, relax.TupleType) else [result.ty]:
            if not isinstance(ty, relax.TensorType):
                continue
            if not has_fixed_shape(ty):
                raise ValueError("the shape of its output is not known at import")
            if str(ty.dtype) not in _COMPUTED:
                raise ValueError(f"its output is {ty.dtype}, which cannot be computed")
        pending = list(reads(result))
        while pending:
            var = pending.pop()
            if var not in self.checked:
                self.checked.add(var)
                value = self.bb.lookup_binding(var)
                if isinstance(value, relax.Call) and op_name(value) in ("", *_NOT_PLAIN):
                    raise ValueError("it needs a shape or a kernel that is only known at run time")
                pending.extend(reads(value))


def _convert(
    path: Path, proto: ModelProto, inputs: dict[str, tuple[int, ...]], names: dict[bytes, str]
) -> IRModule:
    """Translate; `names` takes those of weights that are made here."""
    shapes = {name: list(shape) for name, shape in inputs.items()}
    importer = _Importer(shapes, None, keep_params_in_input=True, sanitize=False)
    importer.path, importer.checked, importer.names = path, set(), names
    with contextlib.redirect_stdout(io.StringIO()):  # the importer prints what it raises
        try:
            return importer.from_onnx(proto.graph, opset_of(proto))
        except Exception:
            importer.bb._end_block()  # or TVM reports on stderr that one was left open
            raise
