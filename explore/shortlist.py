"""Which compressed networks are worth compiling, by what the reference executor says of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import AdaspringError
from ..ir.quantized_layers import is_quantized
from ..library import manifest as record
from ..targets import Board
from .candidates import Candidate, Compressor, Probe, why_unchanged
from .gate import Bounds, accuracy_refusal
from .measure.layer_times import with_layer_times
from .progress import Progress
from .recipes import Recipe, why_skipped, why_unsuited
from .request import Request
from .retrain.recover import recovered
from .retrain.together import train_candidates


def find_candidates(
    request: Request, probe: Probe, progress: Progress
) -> tuple[tuple[Candidate, ...], tuple[record.Dropped, ...]]:
    """The dense network and every recipe that works and keeps accuracy in the reference."""
    found: list[Candidate] = []
    skipped: list[record.Dropped] = []
    calibration = request.splits.calibration if request.splits else None
    compressor = Compressor(request.model, probe, calibration)
    quantized, has_data = is_quantized(request.model), calibration is not None
    recipes = with_layer_times(request)
    reasons = [
        why_skipped(
            recipe,
            boards=request.boards,
            has_data=has_data,
            named=request.recipes_named,
            quantized=quantized,
        )
        for recipe in recipes
    ]
    if request.together and request.training is not None:
        tried = [r for r, reason in zip(recipes, reasons, strict=True) if reason is None]
        data, seed = request.training, request.tuning.seed
        train_candidates(tried, compressor, request.model, data, seed, progress)
    for index, (recipe, reason) in enumerate(zip(recipes, reasons, strict=True)):
        progress.step("compress", index, len(request.recipes), recipe.name)
        if reason is None:
            try:
                candidate = _candidate(request, recipe, compressor, found, progress)
            except AdaspringError as error:
                if not recipe.passes:
                    raise
                reason = str(error)
            else:
                reason = _pointless(candidate, found, request.bounds)
                if reason is None:
                    found.append(candidate)
        if reason is not None:
            skipped.append(dropped_record(recipe, reason))
    progress.step("compress", len(request.recipes), len(request.recipes), "done")
    return tuple(found), tuple(skipped)


def _candidate(
    request: Request,
    recipe: Recipe,
    compressor: Compressor,
    found: Sequence[Candidate],
    progress: Progress,
) -> Candidate:
    """Compress by a recipe, and retrain the result where it lost too much and there are data."""
    candidate = compressor.candidate(recipe)
    if request.training is None or not found:
        return candidate
    dense, given = found[0].validation_accuracy, candidate.validation_accuracy
    if accuracy_refusal(dense, given, request.bounds) is None:
        return candidate
    data, seed = request.training, request.tuning.seed
    return recovered(candidate, compressor, request.model, data, seed, progress)


def _pointless(candidate: Candidate, found: Sequence[Candidate], bounds: Bounds) -> str | None:
    """Why a compressed network need not be compiled; the dense one was found first."""
    unchanged = why_unchanged(candidate.recipe, candidate.decisions())
    if unchanged is not None or not found:
        return unchanged
    lost = accuracy_refusal(found[0].validation_accuracy, candidate.validation_accuracy, bounds)
    return lost if candidate.training is None or lost is None else f"{lost}, after retraining"


def suited(
    candidates: Sequence[Candidate], board: Board
) -> tuple[tuple[Candidate, ...], tuple[record.Dropped, ...]]:
    """Those that a board can gain by; the others are dropped, with the reason."""
    reasons = [(each, why_unsuited(each.recipe, board)) for each in candidates]
    return (
        tuple(each for each, why in reasons if why is None),
        tuple(dropped_record(each.recipe, why) for each, why in reasons if why is not None),
    )


def dropped_record(recipe: Recipe, reason: str, cost: record.Cost | None = None) -> record.Dropped:
    """Why a recipe's network is not in the library, as the manifest records it."""
    return record.Dropped(
        name=recipe.name, recipe=recipe.describe(), reason=reason[:200], cost=cost
    )
