"""What `manifest.json` says: one library for one board, every variant, every cost, every file.

The structs are frozen and refuse unknown keys. `SCHEMA_VERSION` names the whole file's layout; a
library of a schema that is not in `READ_SCHEMAS` is refused, never guessed at.
docs/library-format.md describes the format.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from ..targets.board import Affinity, Board
from .pieces.composition import Composition
from .records import (
    Agreement,
    Bytes,
    Cost,
    DecisionRecord,
    Dtype,
    Executable,
    Extent,
    Figure,
    FunctionRecord,
    MetricFigure,
    Name,
    Record,
    Sha256,
)

__all__ = [
    "Agreement",
    "BoardRecord",
    "Composition",
    "Cost",
    "DecisionRecord",
    "Dropped",
    "Dtype",
    "Executable",
    "Figure",
    "FileRecord",
    "FunctionRecord",
    "Manifest",
    "MetricFigure",
    "Signature",
    "StateRecord",
    "TensorSpec",
    "Variant",
    "board_record",
]

SCHEMA_VERSION = 5
READ_SCHEMAS = (2, 3, 4, 5)
MANIFEST_NAME = "manifest.json"
DIGEST_NAME = "manifest.sha256"
CODE_FOLDER = "code"
WEIGHTS_FOLDER = "weights"
RUNTIME_FOLDER = "runtime"
MOST_THREADS = 4096


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
    what `Net.stream` keeps between calls. `composition` are the pieces of the network at the first
    shape, each in several forms, of which the app puts networks together.
    `runtime` is the path of the packed libtvm_runtime, or None where an installed one serves.
    `network_sha256` tells the dense network from others, by its weights; None: not recorded.
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
    padding: dict[str, float] = field(default_factory=dict)
    composition: Composition | None = None
    network_sha256: Sha256 | None = None

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Every shape, the first before the others."""
        return (self, *self.further_shapes)

    @property
    def executables(self) -> tuple[tuple[str, Executable], ...]:
        """All compiled code by whose it is: variants at every shape, then cells in every form."""
        whole = [(variant.name, each) for variant in self.variants for each in variant.executables]
        segments = self.composition.segments if self.composition is not None else ()
        cells = [
            (f"{index}/{cell.name}", form)
            for index, segment in enumerate(segments)
            for cell in segment.cells
            for form in (cell, *cell.forms)
        ]
        return (*whole, *cells)

    def at(self, index: int) -> Manifest:
        """The library as it is at one shape alone."""
        there = self.signatures[index]
        return replace(
            self,
            inputs=there.inputs,
            outputs=there.outputs,
            further_shapes=(),
            variants=tuple(variant.at(index) for variant in self.variants),
            composition=None if index else self.composition,
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
