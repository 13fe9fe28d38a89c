"""What `manifest.json` says: one library for one board, every variant, every cost, every file.

The structs are frozen and refuse unknown keys. `SCHEMA_VERSION` names the whole file's layout; a
library of a schema that is not in `READ_SCHEMAS` is refused, never guessed at.
docs/library-format.md describes the format.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from ..targets.board import Affinity, Board

SCHEMA_VERSION = 4
READ_SCHEMAS = (2, 3, 4)
MANIFEST_NAME = "manifest.json"
DIGEST_NAME = "manifest.sha256"
CODE_FOLDER = "code"
WEIGHTS_FOLDER = "weights"
RUNTIME_FOLDER = "runtime"
MOST_THREADS = 4096

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


class Variant(Executable, frozen=True, kw_only=True):
    """One compressed alternative of the network, compiled for each of the library's shapes.

    What an Executable has is that of the first shape; `further_shapes` follow, in the order of the
    manifest's.
    """

    name: Name
    recipe: str
    decisions: tuple[DecisionRecord, ...]
    further_shapes: tuple[Executable, ...] = ()

    @property
    def executables(self) -> tuple[Executable, ...]:
        """One for each shape, in the order of `Manifest.signatures`."""
        return (self, *self.further_shapes)

    def at(self, index: int) -> Variant:
        """The variant as it is at one shape alone."""
        there = self.executables[index]
        fields = {name: getattr(there, name) for name in Executable.__struct_fields__}
        return replace(self, **fields, further_shapes=())


class Dropped(Record, frozen=True, kw_only=True):
    """A candidate that did not enter the library, and why."""

    name: Name
    recipe: str
    reason: Name
    cost: Cost | None = None


class TensorSpec(Record, frozen=True, kw_only=True):
    """Name, shape and type of one input or output."""

    name: Name
    shape: tuple[Extent, ...]
    dtype: Dtype


class StateRecord(Record, frozen=True, kw_only=True):
    """A state: the output of one call that is the input of the next, of one shape and type."""

    input: Name
    output: Name


class Signature(Record, frozen=True, kw_only=True):
    """One shape of the network: that of each input, and of each output that follows."""

    inputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]


class FileRecord(Record, frozen=True, kw_only=True):
    """One file of the library: its path from the library's folder, its content, its size."""

    path: Name
    sha256: Sha256
    size_bytes: Bytes


class BoardRecord(Record, frozen=True, kw_only=True):
    """What a machine must be for this library to run on it.

    `cpu_features` are the flags of /proc/cpuinfo that the compiled code uses. `affinity`: on which
    processors the threads compute.
    """

    name: Name
    architecture: Literal["x86_64", "aarch64"]
    device: Literal["cpu", "opencl", "cuda"]
    thread_count: Annotated[int, Meta(ge=1, le=MOST_THREADS)]
    target: dict[str, Any]
    cpu_features: tuple[Name, ...]
    affinity: Affinity = Affinity()


class Manifest(Signature, frozen=True, kw_only=True):
    """The whole of `manifest.json`. `plainest` names the variant with nothing compressed.

    `inputs` and `outputs` are those of the first shape; `further_shapes` follow. `padding` gives,
    for some inputs, the value with which they are filled up to the next larger shape. `states` are
    what `Net.stream` keeps between calls.
    `runtime` is the path of the packed libtvm_runtime, or None where an installed one serves.
    """

    schema_version: int
    name: Name
    adaspring_version: Name
    tvm_version: Name
    created: str
    board: BoardRecord
    plainest: Name
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1)]
    dropped: tuple[Dropped, ...]
    files: tuple[FileRecord, ...]
    runtime: str | None = None
    states: tuple[StateRecord, ...] = ()
    further_shapes: tuple[Signature, ...] = ()
    padding: dict[str, float] = {}

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Every shape, the first before the others."""
        return (self, *self.further_shapes)

    def at(self, index: int) -> Manifest:
        """The library as it is at one shape alone."""
        there = self.signatures[index]
        return replace(
            self,
            inputs=there.inputs,
            outputs=there.outputs,
            further_shapes=(),
            variants=tuple(variant.at(index) for variant in self.variants),
        )

    def variant(self, name: str) -> Variant:
        """Return the variant of that name; KeyError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)


def board_record(board: Board) -> BoardRecord:
    """Return what the manifest keeps of a board."""
    return BoardRecord(
        name=board.name,
        architecture=board.architecture,
        device=board.device,
        thread_count=board.core_count,
        target=dict(board.target),
        cpu_features=board.cpu_features,
        affinity=board.affinity,
    )
