"""How a library is drawn: shared by `inspect` and `compile`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ...library.manifest import (
    Agreement,
    BoardRecord,
    DecisionRecord,
    Dropped,
    Manifest,
    Signature,
    TensorSpec,
)
from .tables import bytes_text, cost_cells, cost_columns, line, origin_note, shape_text, table


def head(lib: Path, manifest: Manifest, obstacle: str | None) -> tuple[Text, ...]:
    """Tell in a few lines what a library is, for which board, and whether it runs here."""
    board = manifest.board
    size = sum(file.size_bytes for file in manifest.files)
    here = "runs on this machine" if obstacle is None else obstacle
    return (
        line(f"{lib}: {manifest.name} for {board.name}", "bold"),
        line(
            f"board    {board.architecture}, {board.device}, {_threads(board)}, "
            f"{board.target.get('mcpu', board.target['kind'])}; {here}"
        ),
        line(f"inputs   {_specs(manifest.inputs)}"),
        line(f"outputs  {_specs(manifest.outputs)}"),
        *(line(f"also     {_specs(each.inputs)}") for each in manifest.further_shapes),
        *([line(f"padding  {padding_text(manifest.padding)}")] if manifest.padding else []),
        line(
            f"files    {len(manifest.files)}, {bytes_text(size)}, every SHA-256 as written; "
            f"made {manifest.created} by adaspring {manifest.adaspring_version}, "
            f"TVM {manifest.tvm_version}"
        ),
    )


def variant_table(manifest: Manifest) -> Table:
    """List every variant with its costs."""
    rows = [
        (at_shape(manifest, index, v.name + (" *" if v.name == manifest.plainest else "")),
         *cost_cells(each.cost), agreement_text(each.agreement), v.recipe)
        for v in manifest.variants for index, each in enumerate(v.executables)
    ]  # fmt: skip
    costs = [variant.cost for variant in manifest.variants]
    drawn = table("Variants", ("variant", *cost_columns(costs), "error", "recipe"), rows)
    drawn.caption = Text(f"* the plainest; {origin_note(costs)}; error: against the reference")
    return drawn


def at_shape(manifest: Manifest, index: int, variant: str) -> str:
    """Give a variant's name, with the shape of its inputs where there are several."""
    if not manifest.further_shapes:
        return variant
    return f"{variant}, {inputs_text(manifest.signatures[index])}"


def inputs_text(signature: Signature) -> str:
    """Give the shape of every input: ids 1x16, mask 1x16."""
    return ", ".join(f"{spec.name} {shape_text(spec.shape)}" for spec in signature.inputs)


def dropped_table(dropped: Sequence[Dropped]) -> Table:
    """List what did not enter the library, and why."""
    return table("Left out", ("recipe", "why"), [(d.name, d.reason) for d in dropped])


def decision_table(variant: str, decisions: Iterable[DecisionRecord]) -> Table:
    """List what each pass did to each layer of a variant, or why it was left alone."""
    rows = [(d.pass_name, d.layer, d.action, _detail(d)) for d in decisions]
    return table(f"{variant}: layer by layer", ("pass", "layer", "", "decision"), rows)


def agreement_text(agreement: Agreement | None) -> str:
    """Give the error and what is allowed, or say that it was not run."""
    if agreement is None:
        return "not run"
    return f"{agreement.max_error_ratio:.1e} ≤ {agreement.tolerance_ratio:g}"


def _detail(decision: DecisionRecord) -> str:
    """Give the decision without the layer's name, which has its own column."""
    text = decision.detail
    for head in (f"{decision.layer}: kept, ", f"{decision.layer}: ", f"{decision.layer} "):
        if text.startswith(head):
            return text.removeprefix(head)
    return text


def _threads(board: BoardRecord) -> str:
    """Give the number of threads, and where they run if that is not left to the machine."""
    text = f"{board.thread_count} threads"
    if board.affinity.cpus:
        text += f" on processors {' '.join(map(str, board.affinity.cpus))}"
    return f"{text}, one to each" if board.affinity.pinned else text


def padding_text(padding: Mapping[str, float]) -> str:
    """Say with what inputs are filled up to the next larger shape."""
    filled = ", ".join(f"{name} with {value:g}" for name, value in padding.items())
    return f"{filled}, up to the next larger shape"


def _specs(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {shape_text(spec.shape)}" for spec in specs)
