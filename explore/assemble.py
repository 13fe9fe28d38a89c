"""From built variants to the library that is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

from ..backends.build import Built
from ..ir.model import Model, TensorSpec
from ..library import manifest as record
from ..library.parts import CellParts, LibraryParts, VariantParts
from ..library.weights import content_sha256
from ..targets import Board
from .board.runtime import runtime_files
from .gate import Contender
from .recipes import Recipe
from .variants import Variant

ELSEWHERE = "what it was lowered to, unscheduled, on the machine that built it, for one call"


def library_of(
    models: Sequence[Model],
    board: Board,
    kept: Sequence[Contender],
    dropped: Sequence[record.Dropped],
    built: Sequence[Mapping[str, Built]],
    pad: Mapping[str, float],
) -> LibraryParts:
    """The library of those that passed the gate, with what was found of them.

    `models` and `built` are one for each shape.
    """
    parts = []
    for contender in kept:
        shapes = zip(contender.at_shapes, built, strict=True)
        first, *further = (_parts(each, made[contender.name]) for each, made in shapes)
        parts.append(replace(first, further_shapes=tuple(further)))
    whole = replace(
        library_parts(models[0], board, tuple(parts), tuple(dropped)),
        further_shapes=tuple(signature_of(model) for model in models[1:]),
        padding=pad,
        network_sha256=_network_sha256(models[0]),
    )
    return replace(whole, runtime_paths=runtime_files(board))


def _network_sha256(model: Model) -> str:
    """Tell a network from others by its weights, whatever board it is compiled for."""
    digest = hashlib.sha256()
    for name, array in sorted(model.weights.items()):
        digest.update(f"{name} {content_sha256(array)}".encode())
    return digest.hexdigest()


def _parts(contender: Contender, built: Built) -> VariantParts:
    """A contender at one shape as the writer takes it."""
    agreement = None
    if contender.agreement_ratio is not None:
        agreement = record.Agreement(
            max_error_ratio=contender.agreement_ratio,
            tolerance_ratio=contender.tolerance_ratio,
            reference="the same compressed network, operator by operator in torch float32",
            ran="the variant itself, on its board" if contender.ran else ELSEWHERE,
        )
    return variant_parts(contender.variant, built, contender.cost, agreement)


def variant_parts(
    variant: Variant, built: Built, cost: record.Cost, agreement: record.Agreement | None
) -> VariantParts:
    """One built variant as the writer takes it."""
    return VariantParts(
        name=variant.name,
        recipe=variant.recipe.describe(),
        decisions=variant.decisions(),
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=cost,
        agreement=agreement,
    )


def cell_parts(
    recipe: Recipe, decisions: tuple[record.DecisionRecord, ...], built: Built, cost: record.Cost
) -> CellParts:
    """One built cell as the writer takes it."""
    return CellParts(
        name=recipe.name,
        recipe=recipe.describe(),
        decisions=decisions,
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=cost,
    )


def library_parts(
    model: Model,
    board: Board,
    variants: tuple[VariantParts, ...],
    dropped: tuple[record.Dropped, ...],
) -> LibraryParts:
    """A library as the writer takes it, plainest variant first; no runtime is packed in it."""
    return LibraryParts(
        name=model.name,
        board=record.board_record(board),
        inputs=signature_of(model).inputs,
        outputs=signature_of(model).outputs,
        plainest=variants[0].name,
        variants=variants,
        dropped=dropped,
        tvm_version=version("apache-tvm"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        states=tuple(record.StateRecord(input=i, output=o) for i, o in model.states),
    )


def signature_of(model: Model) -> record.Signature:
    """The shape of a network as a library's manifest says it."""
    return record.Signature(
        inputs=tuple(_spec(spec) for spec in model.inputs),
        outputs=tuple(_spec(spec) for spec in model.outputs),
    )


def _spec(spec: TensorSpec) -> record.TensorSpec:
    return record.TensorSpec(name=spec.name, shape=spec.shape, dtype=spec.dtype)  # type: ignore[arg-type]
