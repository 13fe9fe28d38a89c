"""The whole way for one network: compress, tune, build, measure, gate, write a library a board."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.build import Built
from ..backends.tuning import TuningReport
from ..errors import AdaspringError, GateError
from ..library import manifest as record
from ..library.writer import check_replaceable, write_library
from ..targets import Board
from .assemble import library_parts, variant_parts, write_contenders
from .board.code_jobs import build_all
from .board.site import Site
from .board.tuned_code import BoardCode, order_code
from .candidates import Candidate, Probe, agreement_ratio, make_probe
from .costs import make_cost
from .farms import Farms, farms_of
from .gate import Bounds, Contender, dominated_by, refusal
from .measure.local import Measured, measure
from .measure.remote import Asked, measure_remote
from .progress import Progress, Silent
from .request import Request
from .shortlist import dropped_record, find_candidates, suited


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """What came out for one board; `error` where nothing did.

    `site` is where the variants were tuned and run, None where nothing came so far.
    """

    board: Board
    folder: Path
    manifest: record.Manifest | None
    latency_ratios: dict[str, float]
    tuning: TuningReport | None
    site: Site | None
    elapsed_s: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompileResult:
    """All boards, and the recipes that could not be tried."""

    boards: tuple[BoardResult, ...]
    skipped: tuple[record.Dropped, ...]


def compile_libraries(request: Request, progress: Progress | None = None) -> CompileResult:
    """Make the libraries of `request`.

    A board that fails does not stop the others; its result carries the error.

    Raises:
        AdaspringError: nothing can be made for any board (the dense network does not run).

    """
    progress = progress or Silent()
    for board in request.boards:
        check_replaceable(request.folder(board))
    probe = make_probe(request.model, request.splits)
    with farms_of(request) as farms:
        candidates, skipped = find_candidates(request, probe, progress)
        begun: Iterable[_Begun] = (
            _begin(request, board, candidates, farms, progress) for board in request.boards
        )
        if farms.code is not None:
            begun = list(begun)  # the code of all boards is under way before any is waited for
        boards = [_finish(request, one, skipped, probe, progress) for one in begun]
    return CompileResult(boards=tuple(boards), skipped=skipped)


@dataclass(frozen=True)
class _Begun:
    """A board whose code is ordered, or why it could not be; `unsuited` is not for this board."""

    board: Board
    start_s: float
    candidates: tuple[Candidate, ...]
    unsuited: tuple[record.Dropped, ...]
    code: BoardCode | str


def _begin(
    request: Request,
    board: Board,
    candidates: Sequence[Candidate],
    farms: Farms,
    progress: Progress,
) -> _Begun:
    start_s = time.monotonic()
    chosen, unsuited = suited(candidates, board)
    code: BoardCode | str
    try:
        code = order_code(request, board, chosen, farms, progress)
    except AdaspringError as error:
        if len(request.boards) == 1:
            raise
        code = str(error)
    return _Begun(board, start_s, chosen, unsuited, code)


def _finish(
    request: Request,
    begun: _Begun,
    skipped: Sequence[record.Dropped],
    probe: Probe,
    progress: Progress,
) -> BoardResult:
    if isinstance(begun.code, str):
        return _failed(request, begun.board, begun.code, time.monotonic() - begun.start_s)
    try:
        return _for_board(request, begun, begun.code, skipped, probe, progress)
    except AdaspringError as error:
        if len(request.boards) == 1:
            raise
        return _failed(request, begun.board, str(error), time.monotonic() - begun.start_s)


def _for_board(
    request: Request,
    begun: _Begun,
    code: BoardCode,
    skipped: Sequence[record.Dropped],
    probe: Probe,
    progress: Progress,
) -> BoardResult:
    board, site, candidates = begun.board, code.site, begun.candidates
    skipped = (*skipped, *begun.unsuited)
    with tempfile.TemporaryDirectory(prefix="adaspring-build-") as name:
        work = Path(name)
        built = build_all(code.jobs, board, work, progress)
        measured = _measure(request, site, candidates, built, probe, work, progress)
        contenders = [
            _contender(candidate, built[candidate.name], site, measured, probe)
            for candidate in candidates
        ]
        kept, dropped = _gate(contenders, request.bounds)
        manifest = write_contenders(
            request.folder(board), request.model, board, kept, (*skipped, *dropped), built
        )
    return BoardResult(
        board=board,
        folder=request.folder(board),
        manifest=manifest,
        latency_ratios={
            n: m.latency.ratio_to_plainest for n, m in measured.items() if m.latency is not None
        },
        tuning=code.tuning,
        site=site,
        elapsed_s=time.monotonic() - begun.start_s,
    )


def _measure(
    request: Request,
    site: Site,
    candidates: Sequence[Candidate],
    built: dict[str, Built],
    probe: Probe,
    work: Path,
    progress: Progress,
) -> dict[str, Measured]:
    """Run and time every variant where its board is; nothing where that is nowhere."""
    stage = f"measure on {site.board.name}"
    if site.tracker is not None:
        asked = Asked(
            board=site.board,
            model=request.model,
            built=built,
            plainest=candidates[0].name,
            inputs=probe.inputs,
        )
        steps = len(candidates) + 1
        measured = measure_remote(
            site.tracker, asked, work, lambda done, what: progress.step(stage, done, steps, what)
        )
        progress.step(stage, steps, steps, "done")
        return measured
    if not site.here:
        return {}
    progress.step(stage, 0, 1, "all variants in turn")
    measured = _measure_here(request, site.board, candidates, built, probe, work)
    progress.step(stage, 1, 1, "done")
    return measured


def _measure_here(
    request: Request,
    board: Board,
    candidates: Sequence[Candidate],
    built: dict[str, Built],
    probe: Probe,
    work: Path,
) -> dict[str, Measured]:
    """Measure through a library of all candidates, so that what is timed is what ships."""
    trial = work / "candidates"
    parts = []
    for candidate in candidates:
        made = built[candidate.name]
        cost = make_cost(candidate, made, board, None, None)
        parts.append(variant_parts(candidate, made, cost, None))
    write_library(trial, library_parts(request.model, board, tuple(parts), ()))
    return measure(trial, request.model, probe.inputs, work)


def _contender(
    candidate: Candidate,
    built: Built,
    site: Site,
    measured: dict[str, Measured],
    probe: Probe,
) -> Contender:
    board, run = site.board, measured.get(candidate.name)
    if run is None:
        return Contender(
            candidate=candidate,
            cost=make_cost(candidate, built, board, None, None),
            agreement_ratio=None,
            validation_accuracy=candidate.validation_accuracy,
            latency_ratio=None,
        )
    test_accuracy = probe.test_accuracy(run.outputs[0])
    return Contender(
        candidate=candidate,
        cost=make_cost(
            candidate,
            built,
            board,
            run.latency,
            test_accuracy,
            site.describe(),
            run.peak_memory_bytes,
        ),
        agreement_ratio=agreement_ratio(run.outputs, candidate.outputs),
        validation_accuracy=probe.validation_accuracy(run.outputs[0]),
        latency_ratio=None if run.latency is None else run.latency.ratio_to_plainest,
    )


def _gate(
    contenders: Sequence[Contender], bounds: Bounds
) -> tuple[list[Contender], list[record.Dropped]]:
    """Who enters, the dense network first, and who does not and why."""
    dense = contenders[0]
    # Modelled figures choose what to try, not what to keep: without a measurement all stay.
    front_only = bounds.front_only and dense.latency_ratio is not None
    dropped: list[record.Dropped] = []
    passed: list[Contender] = []
    for contender in contenders:
        reason = refusal(dense, contender, bounds)
        if reason is None:
            passed.append(contender)
        else:
            dropped.append(dropped_record(contender.candidate.recipe, reason, contender.cost))
    if not passed:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in dropped)
        raise GateError(f"no variant may enter the library. {reasons}")
    kept = []
    for contender in passed:
        others = [other for other in passed if other is not contender]
        better = dominated_by(contender, others) if front_only else None
        if better is None or contender is dense:
            kept.append(contender)
        else:
            reason = f"{better.name} is at least as good in every figure"
            dropped.append(dropped_record(contender.candidate.recipe, reason, contender.cost))
    return kept, dropped


def _failed(request: Request, board: Board, error: str, elapsed_s: float) -> BoardResult:
    return BoardResult(
        board=board,
        folder=request.folder(board),
        manifest=None,
        latency_ratios={},
        tuning=None,
        site=None,
        elapsed_s=elapsed_s,
        error=error,
    )
