"""What the IR must be, as a function that checks it: docs/architecture.md, "Model".

It runs once after import and once after each pass: one walk over the bindings, a look at each
layer, and TVM's own check.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from tvm import relax
from tvm.ir import GenericConst, Op
from tvm.tirx import IntImm

from ..errors import BrokenModel
from .graph import Graph, is_call, variables
from .layers import Layer, layers_of
from .loops import Loop, loops_of
from .model import Model
from .stored_weights import SIXTEEN_BIT_TYPES

_NOT_HIGH_LEVEL = (
    "relax.builtin.",
    "relax.call_",
    "relax.invoke_",
    "relax.make_closure",
    "relax.memory.",
    "relax.vm.",
)
_FOLDED = "relax.nn.batch_norm"
_PLACES = {1: "W", 2: "HW", 3: "DHW"}
_LAYOUTS = {
    f"relax.nn.conv{rank}d{suffix}": {"data_layout": f"NC{axes}", "kernel_layout": f"{io}{axes}"}
    for rank, axes in _PLACES.items()
    for suffix, io in (("", "OI"), ("_transpose", "IO"))
} | {
    f"relax.nn.{pool}{rank}d": {"layout": f"NC{axes}"}
    for rank, axes in _PLACES.items()
    for pool in ("avg_pool", "max_pool", "adaptive_avg_pool")
}
_QUANTIZED_TYPES = ("int8", "uint8")


def verify(model: Model) -> None:
    """Raise BrokenModel, naming the binding or the weight, where `model` is not what it must be."""
    try:
        _verify(model)
    except BrokenModel as error:
        raise BrokenModel(
            f"{model.name}: {error}; this is a bug of adaspring, please report it"
        ) from None


def _verify(model: Model) -> None:
    _verify_main(model)
    graph, weights = Graph.of(model), model.weight_names()
    names = {var.name for var in model.function.params}
    read: set[relax.Var] = set(variables(graph.result))
    for var, value in graph.bindings:
        _verify_name(var, names)
        _verify_value(var, value)
        read.update(variables(value))
    _verify_outputs(model, graph)
    _verify_well_formed(model)
    unread = next((name for var, name in weights.items() if var not in read), None)
    if unread is not None:
        _broken(unread, "is a weight that nothing reads")
    found = layers_of(graph, weights)
    for layer in found:
        _verify_layer(model, layer)
        _verify_input(graph, layer)
    _verify_types(model, found, loops_of(graph, weights))


def _verify_main(model: Model) -> None:
    """One function, `main`: the inputs, then every weight in order, each as it is declared."""
    functions = [var.name_hint for var in model.module.get_global_vars()]
    if functions != ["main"]:
        _broken("the module", f"holds {', '.join(functions)}; it must hold main alone")
    params, inputs = list(model.function.params), model.inputs
    if len(params) != len(inputs) + len(model.weights):
        _broken("main", f"takes {len(params)} values, not {len(inputs)} + {len(model.weights)}")
    _verify_distinct("input", [spec.name for spec in inputs])
    _verify_distinct("output", [spec.name for spec in model.outputs])
    _verify_distinct("parameter", params)
    for spec, var in zip(inputs, params, strict=False):
        _verify_tensor(f"input {spec.name}", var.ty, spec.shape, spec.dtype)
    for (name, array), var in zip(model.weights.items(), params[len(inputs) :], strict=True):
        _verify_tensor(f"weight {name}", var.ty, array.shape, array.dtype.name)
    blocks = model.function.body.blocks
    if len(blocks) != 1 or not isinstance(blocks[0], relax.DataflowBlock):
        _broken("main", f"has {len(blocks)} blocks; it must have one dataflow block")


def _verify_well_formed(model: Model) -> None:
    """What TVM checks itself: types, and values that are used before they are bound."""
    try:
        relax.analysis.well_formed(model.module)
    except Exception as error:
        _broken("main", f"is not well formed: {str(error).strip().partition(chr(10))[0]}")


def _verify_outputs(model: Model, graph: Graph) -> None:
    """As many outputs as are declared, each of the shape and type that is declared."""
    outputs = graph.outputs()
    if len(outputs) != len(model.outputs):
        _broken("main", f"returns {len(outputs)} values, not {len(model.outputs)}")
    for spec, value in zip(model.outputs, outputs, strict=True):
        _verify_tensor(f"output {spec.name}", value.ty, spec.shape, spec.dtype)


def _verify_tensor(place: str, ty: relax.Type, shape: Sequence[int], dtype: str) -> None:
    _verify_shape(place, ty)
    found, wanted = (*_extents(ty), str(ty.dtype)), (*shape, dtype)
    if found != wanted:
        _broken(place, f"is {_tensor(*found)} in main, but declared {_tensor(*wanted)}")


def _tensor(*shape_and_dtype: object) -> str:
    *shape, dtype = shape_and_dtype
    return f"{dtype} ({', '.join(map(str, shape))})"


def _verify_name(var: relax.Var, names: set[str]) -> None:
    if var.name in names:
        _broken(var.name, "is bound twice; every value needs a name of its own")
    names.add(var.name)


def _verify_distinct(kind: str, values: Iterable[object]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            _broken(f"{kind} {value}", "is declared twice")
        seen.add(value)


def _verify_value(var: relax.Var, value: relax.Expr) -> None:
    """A high-level operator of bound values, a tuple of them, an item of one, or a copy."""
    for ty in var.ty.fields if isinstance(var.ty, relax.TupleType) else (var.ty,):
        _verify_shape(var.name, ty)
    if isinstance(value, relax.Call):
        parts = [part for arg in value.args for part in _fields(arg)]
    elif isinstance(value, relax.TupleGetItem):
        parts = [value.tuple_value]
    else:
        parts = _fields(value)
    for part in parts:
        if isinstance(part, relax.Call | relax.TupleGetItem | relax.Tuple | relax.If):
            _broken(var.name, f"computes a {type(part).__name__} in place; bind it to a variable")
    if isinstance(value, relax.Call):
        _verify_call(var, value)


def _fields(value: relax.Expr) -> list[relax.Expr]:
    return list(value.fields) if isinstance(value, relax.Tuple) else [value]


def _verify_call(var: relax.Var, call: relax.Call) -> None:
    name = call.op.name if isinstance(call.op, Op) else ""
    if not name.startswith("relax.") or name.startswith(_NOT_HIGH_LEVEL):
        _broken(var.name, f"calls {name or call.op}, which is no high-level operator")
    if name == _FOLDED:
        _broken(var.name, "is a batch norm; it must be folded, or be multiply and add")
    for field, wanted in _LAYOUTS.get(name, {}).items():
        if str(getattr(call.attrs, field)) != wanted:
            _broken(var.name, f"has {field} {getattr(call.attrs, field)}; it must be {wanted}")
    if name in ("relax.quantize", "relax.dequantize"):
        _verify_quantization(var, call)


def _verify_shape(place: str, ty: relax.Type) -> None:
    if not isinstance(ty, relax.TensorType):
        _broken(place, f"is {type(ty).__name__}, not a tensor")
    if not isinstance(ty.shape, relax.ShapeExpr) or not all(
        isinstance(extent, IntImm) for extent in ty.shape.values
    ):
        _broken(place, f"has the shape {ty.shape}; every dimension must be a number")


def _verify_quantization(var: relax.Var, call: relax.Call) -> None:
    """A scale for the tensor or for each channel; integers of 8 bits, their zero point constant."""
    x, scale, zero_point = call.args
    quantized = var if is_call(call, "relax.quantize") else x
    if str(quantized.ty.dtype) not in _QUANTIZED_TYPES:
        _broken(var.name, f"quantizes to {quantized.ty.dtype}; it must be int8 or uint8")
    if scale.ty.ndim > 1:
        _broken(var.name, f"has scales of {scale.ty.ndim} axes; one, or one a channel, can be")
    if scale.ty.ndim == 1:
        count, extent = _extents(scale.ty)[0], _extents(x.ty)[int(call.attrs.axis)]
        if count != extent:
            _broken(var.name, f"has {count} scales along an axis of {extent}")
    if not isinstance(zero_point, GenericConst):
        _broken(var.name, "has a zero point that is no constant")
    if isinstance(scale, GenericConst):
        known = scale.value.numpy()
        if not (np.isfinite(known) & (known > 0)).all():
            _broken(var.name, "has a scale that is not finite and above zero")


def _verify_layer(model: Model, layer: Layer) -> None:
    """The weight in a form of `stored_weights.py`, with scales that fit; the bias a vector."""
    outputs, form = layer.outputs, layer.stored
    stored = model.weights[layer.weight]
    if form.quantized:
        if form.scale is None or not form.scale.startswith(f"{layer.weight}_scale"):
            _broken(layer.weight, f"has its scales in {form.scale}, not in {layer.weight}_scale")
        if not form.symmetric:
            _broken(layer.weight, "is dequantized by a zero point other than 0")
        scales, shape = model.weights[form.scale], form.scale_shape(layer.weight_shape)
        if scales.shape != shape or scales.dtype != np.float32:
            _broken(form.scale, f"is {_declared(scales)}, not {_tensor(*shape, 'float32')}")
    shape = form.stored_shape(layer.weight_shape)
    if stored.shape != shape:
        _broken(layer.weight, f"is {_declared(stored)}, not {_tensor(*shape, form.dtype)}")
    if layer.bias is not None:
        bias = model.weights[layer.bias]
        if bias.shape != (outputs,) or bias.dtype != np.float32:
            vector = _tensor(outputs, "float32")
            _broken(layer.bias, f"is the bias of {layer.name}: {_declared(bias)}, not {vector}")


def _verify_input(graph: Graph, layer: Layer) -> None:
    """What multiplies 16 bits is rounded to the same 16 bits."""
    dtype = layer.stored.dtype
    if dtype not in SIXTEEN_BIT_TYPES:
        return
    widened = graph.call(layer.input, "relax.astype")
    rounded = None if widened is None else graph.call(widened.args[0], "relax.astype")
    if rounded is None or str(rounded.attrs.dtype) != dtype:
        _broken(layer.call.name, f"reads {layer.weight} in {dtype}, but not its input")


def _verify_types(model: Model, found: Iterable[Layer], over_time: Iterable[Loop]) -> None:
    """What is not float32 is a layer's weight, or a loop's."""
    stored = {layer.weight for layer in found} | {loop.weight for loop in over_time}
    for name, array in model.weights.items():
        if array.dtype != np.float32 and name not in stored:
            forms = "a layer's weight in a form of ir/stored_weights.py"
            _broken(name, f"is {array.dtype.name}, but is not read as {forms}")


def _declared(array: np.ndarray) -> str:
    return _tensor(*array.shape, array.dtype.name)


def _extents(ty: relax.Type) -> tuple[int, ...]:
    return tuple(int(extent) for extent in ty.shape.values)


def _broken(place: str, what: str) -> NoReturn:
    raise BrokenModel(f"{place} {what}")
