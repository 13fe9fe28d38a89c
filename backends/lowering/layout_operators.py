"""Which Relax operators keep a channels-last layout, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import relax

ELEMENTWISE = (
    "relax.abs",
    "relax.acos",
    "relax.acosh",
    "relax.asin",
    "relax.asinh",
    "relax.astype",
    "relax.atan",
    "relax.atanh",
    "relax.bitwise_not",
    "relax.ceil",
    "relax.clip",
    "relax.cos",
    "relax.cosh",
    "relax.erf",
    "relax.exp",
    "relax.floor",
    "relax.isfinite",
    "relax.isinf",
    "relax.isnan",
    "relax.log",
    "relax.logical_not",
    "relax.negative",
    "relax.nn.dropout",
    "relax.nn.gelu",
    "relax.nn.gelu_tanh",
    "relax.nn.leakyrelu",
    "relax.nn.relu",
    "relax.nn.relu6",
    "relax.nn.selu",
    "relax.nn.silu",
    "relax.nn.softplus",
    "relax.round",
    "relax.rsqrt",
    "relax.sigmoid",
    "relax.sign",
    "relax.sin",
    "relax.sinh",
    "relax.sqrt",
    "relax.square",
    "relax.tan",
    "relax.tanh",
    "relax.trunc",
)

BROADCASTING = (
    "relax.add",
    "relax.atan2",
    "relax.bitwise_and",
    "relax.bitwise_or",
    "relax.bitwise_xor",
    "relax.divide",
    "relax.equal",
    "relax.floor_divide",
    "relax.floor_mod",
    "relax.greater",
    "relax.greater_equal",
    "relax.less",
    "relax.less_equal",
    "relax.logical_and",
    "relax.logical_or",
    "relax.logical_xor",
    "relax.maximum",
    "relax.minimum",
    "relax.mod",
    "relax.multiply",
    "relax.not_equal",
    "relax.power",
    "relax.subtract",
    "relax.where",
)

POOLS = ("relax.nn.adaptive_avg_pool2d", "relax.nn.avg_pool2d", "relax.nn.max_pool2d")

REDUCTIONS: dict[str, Callable[[relax.Expr, Sequence[int] | None, bool], relax.Expr]] = {
    "relax.max": relax.op.max,
    "relax.mean": relax.op.mean,
    "relax.min": relax.op.min,
    "relax.prod": relax.op.prod,
    "relax.std": relax.op.std,
    "relax.sum": relax.op.sum,
    "relax.variance": relax.op.variance,
}


def channels_last_pool(call: relax.Call) -> Callable[[relax.Expr], relax.Expr]:
    """The same pooling of an NHWC activation."""
    attrs = call.attrs
    if call.op.name == "relax.nn.adaptive_avg_pool2d":
        size = None if attrs.output_size is None else [int(v) for v in attrs.output_size]
        return lambda x: relax.op.nn.adaptive_avg_pool2d(x, size, "NHWC", "NHWC")
    make = relax.op.nn.max_pool2d if "max" in call.op.name else relax.op.nn.avg_pool2d
    return lambda x: make(
        x,
        [int(v) for v in attrs.pool_size],
        [int(v) for v in attrs.strides],
        [int(v) for v in attrs.padding],
        [int(v) for v in attrs.dilation],
        bool(attrs.ceil_mode),
        bool(attrs.count_include_pad),
        "NHWC",
        "NHWC",
    )


def tuple_fields(expr: relax.Expr, function: relax.Function) -> list[relax.Expr] | None:
    """The fields of a tuple expression, or of the tuple that a variable is bound to."""
    if isinstance(expr, relax.Tuple):
        return list(expr.fields)
    for block in function.body.blocks:
        for binding in block.bindings:
            if binding.var.same_as(expr) and isinstance(binding.value, relax.Tuple):
                return list(binding.value.fields)
    return None
