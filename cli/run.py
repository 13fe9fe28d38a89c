"""`adaspring run`: one variant of a library on samples, as an app would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..errors import DataError
from ..library.score import Score
from .shared.answer import Answer, AsJson, Verbose
from .shared.samples import Samples, calls, join_calls, samples_of, save_npz

LibraryFolder = Annotated[Path, typer.Argument(metavar="LIB", help="The library's folder.")]
VariantName = Annotated[
    str | None, typer.Option("--variant", help="Which variant; the plainest if left out.")
]
InputFile = Annotated[
    Path | None,
    typer.Option(
        "--input",
        help="An .npz with arrays under the inputs' names (or x), samples along the leading axis, "
        "and class numbers y if accuracy is asked. Random samples if left out.",
    ),
]
OutputFile = Annotated[
    Path | None, typer.Option("--output", help="Write the outputs to this .npz, by name.")
]
SampleCount = Annotated[int | None, typer.Option("--samples", min=1, help="Run no more of them.")]

_LISTED_SAMPLES = 10


def run(
    lib: LibraryFolder,
    variant: VariantName = None,
    input_file: InputFile = None,
    output: OutputFile = None,
    samples: SampleCount = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> Answer:
    """Run a library on inputs: shapes, top-1 classes, accuracy where there are labels.

    For example:
      adaspring run net.lib
      adaspring run net.lib --variant int8 --input held-out.npz --output scores.npz
    """
    from ..library.loader import load

    library = load(lib)
    net = library.open(variant, preload=False)
    index, given = samples_of(library, input_file, samples)
    shape = library.manifest.signatures[index]
    answers = []
    for arrays in calls(given, shape.inputs):
        result = net(*arrays)
        answers.append(result if isinstance(result, tuple) else (result,))
    outputs = join_calls(answers, given, shape.inputs)
    names = [spec.name for spec in library.manifest.outputs]
    data = {
        "library": str(lib),
        "variant": net.variant,
        "inputs": {spec.name: spec.shape for spec in shape.inputs},
        "samples_count": given.count,
        "random_inputs": input_file is None,
        "outputs": [_summary(n, o) for n, o in zip(names, outputs, strict=True)],
        "top1": _top1(outputs[0], given.count),
        "accuracy": _accuracy(outputs[0], given),
        "output_file": None if output is None else str(output),
    }
    if output is not None:
        save_npz(output, dict(zip(names, outputs, strict=True)))
    return Answer(data=data, shown=_shown(data))


def _summary(name: str, values: np.ndarray) -> dict[str, Any]:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    known = finite.size > 0
    return {
        "name": name,
        "dtype": str(values.dtype),
        "shape": list(values.shape),
        "minimum": float(finite.min()) if known else None,
        "maximum": float(finite.max()) if known else None,
        "mean": float(finite.mean()) if known else None,
        "not_finite_count": int(values.size - finite.size),
    }


def _top1(scores: np.ndarray, count: int) -> list[int] | None:
    """Give the largest score's class of each sample, where the output is (samples, classes)."""
    if scores.ndim != 2 or len(scores) != count:
        return None
    return [int(index) for index in scores.argmax(axis=1)]


def _accuracy(scores: np.ndarray, samples: Samples) -> float | None:
    if samples.labels is None:
        return None
    found = _top1(scores, samples.count)
    if found is None:
        raise DataError(
            f"the first output has the shape {scores.shape}, so there is no class to compare with "
            "y; leave y out"
        )
    wrong = (samples.labels < 0) | (samples.labels >= scores.shape[1])
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"label {samples.labels[first]} of sample {first} is out of range: the network has "
            f"{scores.shape[1]} classes, 0 to {scores.shape[1] - 1}"
        )
    return float(np.mean(np.array(found) == samples.labels))


def _shown(data: dict[str, Any]) -> tuple[Any, ...]:
    from .shared.tables import line, percent_text, shape_text, table

    kind = "random samples" if data["random_inputs"] else "samples"
    rows = [
        (o["name"], o["dtype"], shape_text(o["shape"]),
         *("-" if o[key] is None else f"{o[key]:.4g}" for key in ("minimum", "maximum", "mean")))
        for o in data["outputs"]
    ]  # fmt: skip
    title = f"{data['library']}, variant {data['variant']}: {data['samples_count']} {kind}"
    columns = ("output", "type", "shape", ">least", ">largest", ">mean")
    shown: list[Any] = [table(title, columns, rows)]
    for entry in data["outputs"]:
        if entry["not_finite_count"]:
            text = f"{entry['name']}: {entry['not_finite_count']} values are not finite"
            shown.append(line(text, "red"))
    if data["top1"] is not None:
        first = " ".join(str(index) for index in data["top1"][:_LISTED_SAMPLES])
        more = " …" if len(data["top1"]) > _LISTED_SAMPLES else ""
        shown.append(line(f"top-1 classes: {first}{more}"))
    if data["accuracy"] is not None:
        score = Score.of_share(data["accuracy"], data["samples_count"])
        low, high = map(percent_text, score.interval)
        shown.append(line(f"accuracy: {percent_text(score.value)} ({low} to {high}, 95 %)"))
    if data["output_file"] is not None:
        shown.append(line(f"outputs written to {data['output_file']}"))
    return tuple(shown)
