"""What a manifest's parts have in common: records, figures and costs, compiled code."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Dtype = Literal[
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
]  # fmt: skip
Extent = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Ratio = Annotated[float, Meta(ge=0)]
Direction = Literal["higher", "lower"]
Unit = Literal["ratio", "dB", ""]
Against = Literal["labels", "dense"]


def sign_of(direction: Direction) -> float:
    """What values are multiplied by so that more is better."""
    return 1.0 if direction == "higher" else -1.0


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all that a manifest holds: frozen, by keyword, unknown keys refused."""


class Figure(Record, frozen=True, kw_only=True):
    """One number of a cost, with where it comes from.

    `how` names the method, its settings and the machine; `when` is an ISO 8601 time with a zone.
    The unit stands in the name of the field that holds the figure.
    """

    value: Annotated[float, Meta(ge=0)]
    origin: Literal["measured", "modelled"]
    how: Name
    when: str


class MetricFigure(Record, frozen=True, kw_only=True):
    """How good a variant's answers are: a metric's `name`, which values are better, the value.

    `unit` is that of value and interval: "ratio" for a share in [0, 1]. `against` says what is
    right: the data's labels, or what the dense network answers. `interval`, where there is one,
    holds the true value with a confidence of 95 %. The rest is as in a `Figure`.
    """

    name: Name
    direction: Direction
    value: float
    origin: Literal["measured", "modelled"]
    how: Name
    when: str
    unit: Unit = ""
    against: Against = "labels"
    interval: tuple[float, float] | None = None


class Cost(Record, frozen=True, kw_only=True):
    """What a variant costs and what it yields. None: not known, never a guess.

    `metric` is on held-out samples that no decision was made by; `validation_metric` on those which
    decided what is kept. `size_bytes` is code and weights of this variant alone, as stored; a
    latency is of one call, after many; a cold one of a call 50 ms after the one before, when
    threads sleep and caches are others'.
    """

    size_bytes: Figure
    macs_count: Figure
    metric: MetricFigure | None = None
    validation_metric: MetricFigure | None = None
    latency_p50_ms: Figure | None = None
    latency_p90_ms: Figure | None = None
    cold_latency_p50_ms: Figure | None = None
    cold_latency_p90_ms: Figure | None = None
    peak_memory_bytes: Figure | None = None
    energy_mj: Figure | None = None


class Agreement(Record, frozen=True, kw_only=True):
    """How near a variant's outputs come to `reference`, the executor it was compared with.

    `ran` says what was run: the variant itself where its board was at hand, else what it was
    lowered to, elsewhere.
    """

    max_error_ratio: Ratio
    tolerance_ratio: Ratio
    reference: Name
    ran: Name = "the variant itself, on its board"


class DecisionRecord(Record, frozen=True, kw_only=True):
    """What a pass did to one layer, or why it left the layer alone."""

    pass_name: Name
    layer: Name
    action: Literal["changed", "kept"]
    detail: str


class FunctionRecord(Record, frozen=True, kw_only=True):
    """One call of a compiled function within the network.

    `name` is the function's in the code; `layers` are those whose weights it reads, none where it
    reads none; `kernel` is how it computes. `dtype` is the type of what it multiplies and adds,
    None where it does not. `macs_count` counts the multiply-adds of the layer as it is defined,
    `performed_macs_count` those that are done (Winograd's filtering does fewer). `moved_bytes` is
    modelled: inputs, weights and outputs, each once.
    """

    name: Name
    layers: tuple[Name, ...]
    kernel: Name
    dtype: Dtype | Literal["bfloat16"] | None
    macs_count: Count
    performed_macs_count: Count
    moved_bytes: Count


class Executable(Record, frozen=True, kw_only=True):
    """A variant compiled for one shape, with what was found of it there.

    `code` is the path of its shared library; `functions` are the calls that it makes, in order;
    `weights` are keys of tensors, in the order in which the compiled `main` takes them, after the
    inputs, as one array. `agreement` is None where nothing of it was ever run.
    """

    code: str
    functions: tuple[FunctionRecord, ...]
    weights: tuple[Name, ...]
    cost: Cost
    agreement: Agreement | None = None
