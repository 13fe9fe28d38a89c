"""Which Relax operators keep a channels-last layout, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import relax

ELEMENTWISE = (
    "relax.abs",
    "relax.astype",
    "relax.ceil",
    "relax.clip",
    "relax.cos",
    "relax.erf",
    "relax.exp",
    "relax.floor",
    "relax.log",
    "relax.negative",
    "relax.nn.dropout",
    "relax.nn.gelu",
    "relax.nn.gelu_tanh",
    "relax.nn.leakyrelu",
    "relax.nn.relu",
    "relax.nn.relu6",
    "relax.nn.silu",
    "relax.nn.softplus",
    "relax.round",
    "relax.rsqrt",
    "relax.sigmoid",
    "relax.sin",
    "relax.sqrt",
    "relax.square",
    "relax.tanh",
)

BROADCASTING = (
    "relax.add",
    "relax.divide",
    "relax.equal",
    "relax.greater",
    "relax.greater_equal",
    "relax.less",
    "relax.less_equal",
    "relax.maximum",
    "relax.minimum",
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
    "relax.sum": relax.op.sum,
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
