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

POOLS = tuple(
    f"relax.nn.{pool}{rank}d"
    for pool in ("adaptive_avg_pool", "avg_pool", "max_pool")
    for rank in (1, 2, 3)
)

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
    """The same pooling channels last: of a line as an image of one row, else as it is."""
    attrs, rank = call.attrs, len(call.args[0].ty.shape) - 2
    places, axes = max(rank, 2), "NDHWC" if rank == 3 else "NHWC"
    kind = call.op.name.removeprefix("relax.nn.")[:-2]
    make = getattr(relax.op.nn, f"{kind}{places}d")

    def extents(values: Sequence[int], one: int) -> list[int]:
        """Of each axis; a line's image has one row before."""
        found = [int(value) for value in values]
        if rank > 1:
            return found
        return [part for value in found for part in (one, value)]

    if kind == "adaptive_avg_pool":
        size = None if attrs.output_size is None else extents(attrs.output_size, 1)
        return lambda x: make(x, size, axes, axes)
    return lambda x: make(
        x,
        extents(attrs.pool_size, 1),
        extents(attrs.strides, 1),
        extents(attrs.padding, 0),
        extents(attrs.dilation, 1),
        bool(attrs.ceil_mode),
        bool(attrs.count_include_pad),
        axes,
        axes,
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
