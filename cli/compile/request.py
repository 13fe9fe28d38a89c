"""From the command line to a request that the explorer carries out."""

from __future__ import annotations

from ...backends.codegen import cuda
from ...backends.codegen.link import find_linker
from ...backends.rpc.protocol import Address
from ...backends.tuning import Tuning
from ...errors import AdaspringError
from ...explore.board.site import site_of
from ...explore.board.tuned_code import log_folder
from ...explore.gate import Bounds
from ...explore.progress import Progress
from ...explore.recipes import find_recipes, why_skipped
from ...explore.request import Request
from ...frontend import check, load_data, load_model, split
from ...frontend.data import Splits
from ...ir.model import Model
from ...ir.quantized_layers import is_quantized
from ...library.writer import check_replaceable
from ...passes import Kept
from ...passes.quantize.imported import imported_layers
from ...targets import Board
from .arguments import Arguments


def resolve(arguments: Arguments, boards: tuple[Board, ...], progress: Progress) -> Request:
    """Read the network and the data; find out now what would fail after long work.

    Raises:
        AdaspringError: something given is missing, wrong, or does not fit the rest.

    """
    for board in boards:
        check_replaceable(arguments.output if len(boards) == 1 else arguments.output / board.name)
    return resolve_tuning(arguments, boards, progress)


def resolve_tuning(arguments: Arguments, boards: tuple[Board, ...], progress: Progress) -> Request:
    """The same for tuning alone, which writes no library."""
    recipes = find_recipes(arguments.recipes)
    obstacles = [board_obstacle(board) for board in boards]
    if all(obstacles):
        raise AdaspringError("; ".join(dict.fromkeys(text for text in obstacles if text)))
    tracker = Address.parse(arguments.tracker) if arguments.tracker else None
    for board in boards if tracker else ():
        site_of(tracker, board)
    progress.step("read", 0, 2, arguments.model)
    model = load_model(arguments.model, arguments.parse_shapes() or None)
    progress.step("read", 1, 2, arguments.data or "no data")
    splits = read_splits(arguments, model)
    training = check(load_data(arguments.retrain), model) if arguments.retrain else None
    progress.step("read", 2, 2, "done")
    return Request(
        model=model,
        boards=boards,
        output=arguments.output,
        recipes=recipes,
        bounds=Bounds(
            max_drop=arguments.max_drop,
            latency_ms=arguments.latency_ms,
            front_only=not arguments.keep_dominated,
        ),
        tuning=Tuning(
            trials=arguments.trials,
            time_limit_s=arguments.parse_time_limit(),
            tuner=arguments.tuner,  # type: ignore[arg-type]
            seed=arguments.seed,
        ),
        logs=arguments.logs,
        splits=splits,
        recipes_named=bool(arguments.recipes),
        tracker=tracker,
        cluster=arguments.cluster,
        training=training,
        together=arguments.together,
    )


def read_splits(arguments: Arguments, model: Model) -> Splits | None:
    """Read the labelled data in three parts, or None where none were given."""
    if arguments.data is None:
        return None
    dataset = check(load_data(arguments.data), model, needs_labels=True)
    return split(dataset, arguments.seed)


def board_obstacle(board: Board) -> str | None:
    """Say why code for a board cannot be built on this machine, or None."""
    if board.device == "cuda" and (reason := cuda.available()) is not None:
        return f"{board.name}: {reason}"
    try:
        find_linker(board.architecture)
    except AdaspringError as error:
        return f"{board.name}: {error}"
    return None


def notes(request: Request) -> tuple[str, ...]:
    """Say what the user should know before it starts: what is left out, and why."""
    return (
        *_quantized_notes(request),
        *_data_notes(request),
        *(text for board in request.boards for text in _board_notes(request, board)),
    )


def _quantized_notes(request: Request) -> list[str]:
    """Say what a network that came quantized is compiled to."""
    found = imported_layers(request.model)
    if not found:
        return []
    floats = [decision.layer for decision in found if isinstance(decision, Kept)]
    but = f", {len(floats)} of them in floats ({', '.join(floats[:3])})" if floats else ""
    skipped = ", ".join(recipe.name for recipe in request.recipes if recipe.passes)
    skipping = f"; these recipes are skipped: {skipped}" if skipped else ""
    return [
        f"the network came quantized and is compiled as it is: {len(found)} layers{but}{skipping}"
    ]


def _data_notes(request: Request) -> list[str]:
    if request.splits is not None:
        return []
    if is_quantized(request.model):
        return ["no --data: accuracy is not measured"]
    skipped = {
        recipe.name: why_skipped(recipe, boards=(), has_data=False, named=request.recipes_named)
        for recipe in request.recipes
    }
    names = ", ".join(name for name, why in skipped.items() if why)
    skipping = f", and these recipes are skipped: {names}" if names else ""
    return [f"no --data: accuracy is not measured{skipping}"]


def _board_notes(request: Request, board: Board) -> list[str]:
    found = []
    obstacle = board_obstacle(board)
    if obstacle is not None:
        found.append(f"cannot be built: {obstacle}")
    site = site_of(request.tracker, board)
    if site.emulated:
        found.append(
            f"{board.name} is emulated: its outputs and accuracy are real, its times mean nothing, "
            f"so no latency is recorded; schedules timed there go to {log_folder(request, site)}"
        )
    if not site.at_hand:
        known = "; schedules that its log holds are used" if board.device == "cpu" else ""
        found.append(f"{board.name} is not this machine: nothing is tuned or run there{known}")
    elif request.tuning.trials == 0:
        found.append(
            f"--trials 0: nothing is tuned on {board.name}, so it is slower than it can be"
        )
    if (request.folder(board)).exists():
        found.append(f"{request.folder(board)} is replaced")
    return found
