"""Builds tiny libraries with TVM: two inputs, two outputs, variants that share weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from adaspring import targets
from adaspring.library import reader
from adaspring.library.manifest import (
    DIGEST_NAME,
    MANIFEST_NAME,
    Agreement,
    Cost,
    DecisionRecord,
    Dropped,
    Figure,
    FunctionRecord,
    MetricFigure,
    TensorSpec,
    board_record,
)
from adaspring.library.parts import LibraryParts, VariantParts

NETWORK = "5" * 64
WHEN = "2025-01-31T12:00:00+00:00"
INPUTS = (
    TensorSpec(name="image", shape=(2, 48), dtype="float32"),
    TensorSpec(name="mask", shape=(2, 48), dtype="float32"),
)
OUTPUTS = (
    TensorSpec(name="logits", shape=(2, 10), dtype="float32"),
    TensorSpec(name="hidden", shape=(2, 64), dtype="float32"),
)


def figure(value: float, origin: str = "measured") -> Figure:
    return Figure(value=value, origin=origin, how="50 calls on null", when=WHEN)


def top1(value: float) -> MetricFigure:
    """An accuracy, as a metric."""
    return MetricFigure(
        name="top1",
        direction="higher",
        value=value,
        origin="measured",
        how="50 samples on null",
        when=WHEN,
        unit="ratio",
    )


def cost(**values: float | None) -> Cost:
    """The figures of these names; `metric` is an accuracy."""
    known = {"size_bytes": 1000.0, "macs_count": 7424.0, **values}
    made = {"metric": top1, "validation_metric": top1}
    return Cost(**{n: None if v is None else made.get(n, figure)(v) for n, v in known.items()})


def weights(rank: int | None) -> dict[str, np.ndarray]:
    """The dense weights; with a rank, the first layer in two factors and the rest the same."""
    rng = np.random.default_rng(5)
    first = rng.standard_normal((48, 64), dtype=np.float32)
    rest = {
        "fc1.bias": rng.standard_normal(64, dtype=np.float32),
        "fc2.weight": rng.standard_normal((64, 10), dtype=np.float32),
    }
    if rank is None:
        return {"fc1.weight": first, **rest}
    left, values, right = np.linalg.svd(first, full_matrices=False)
    return {
        "fc1.0.weight": np.ascontiguousarray(left[:, :rank] * values[:rank]),
        "fc1.1.weight": np.ascontiguousarray(right[:rank]),
        **rest,
    }


def expected(named: Mapping[str, np.ndarray], image: np.ndarray, mask: np.ndarray):
    """What the variant computes, in float64."""
    *factors, bias, last = (value.astype(np.float64) for value in named.values())
    hidden = image.astype(np.float64) * mask
    for factor in factors:
        hidden = hidden @ factor
    hidden = np.maximum(hidden + bias, 0)
    return hidden @ last, hidden


@cache
def compiled(rank: int | None) -> Path:
    """Compile one variant for this machine as a one-core board; the path of its .so."""
    import tvm
    from tvm import relax

    named = weights(rank)
    image, mask = (
        relax.Var(spec.name, relax.TensorType(spec.shape, spec.dtype)) for spec in INPUTS
    )
    params = [
        relax.Var(name.replace(".", "_"), relax.TensorType(value.shape, "float32"))
        for name, value in named.items()
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", [image, mask, *params], attrs={"num_input": 2}):
        with builder.dataflow():
            hidden = builder.emit(relax.op.multiply(image, mask))
            for factor in params[:-2]:
                hidden = builder.emit(relax.op.matmul(hidden, factor))
            hidden = builder.emit(relax.op.nn.relu(relax.op.add(hidden, params[-2])))
            logits = builder.emit(relax.op.matmul(hidden, params[-1]))
            out = builder.emit_output(relax.Tuple([logits, hidden]))
        builder.emit_func_output(out)
    module = relax.transform.BundleModelParams()(builder.finalize())
    path = Path(mkdtemp()) / f"rank{rank}.so"
    target = tvm.target.Target(targets.null().target)
    tvm.compile(module, target=target).export_library(str(path))
    return path


def functions(rank: int | None) -> tuple[FunctionRecord, ...]:
    """Records of the dense layers; not what TVM names the functions of `compiled`."""
    layers = {"fc1": 2 * 48 * 64, "fc2": 2 * 64 * 10}
    if rank is not None:
        layers = {"fc1.0": 2 * 48 * rank, "fc1.1": 2 * rank * 64, "fc2": 2 * 64 * 10}
    return tuple(
        FunctionRecord(
            name=f"dense_{name}",
            layers=(name,),
            kernel="dense fp32",
            dtype="float32",
            macs_count=macs,
            performed_macs_count=macs,
            moved_bytes=4 * macs,
        )
        for name, macs in layers.items()
    )


def variant(name: str, rank: int | None, code: Path | None = None, **values: float) -> VariantParts:
    changed = [] if rank is None else [f"48x64 -> 48x{rank}x64"]
    return VariantParts(
        name=name,
        recipe="dense" if rank is None else f"factorize(rank={rank})",
        decisions=tuple(
            DecisionRecord(pass_name="Factorize", layer="fc1", action="changed", detail=detail)
            for detail in changed
        ),
        code_path=code or compiled(rank),
        functions=functions(rank),
        weights=weights(rank),
        cost=cost(**values),
        agreement=Agreement(max_error_ratio=1e-6, tolerance_ratio=1e-4, reference="NumPy float64"),
    )


def parts(code: Path | None = None) -> LibraryParts:
    """A library of three variants; with `code`, any file stands in for compiled code."""
    return LibraryParts(
        name="tiny",
        board=board_record(targets.null()),
        inputs=INPUTS,
        outputs=OUTPUTS,
        plainest="dense",
        variants=(
            variant("dense", None, code, metric=0.98, latency_p90_ms=10, peak_memory_bytes=9000,
                    energy_mj=50),
            variant("rank16", 16, code, metric=0.96, latency_p90_ms=4, peak_memory_bytes=6000,
                    energy_mj=20),
            variant("rank4", 4, code, metric=0.90, latency_p90_ms=2, peak_memory_bytes=5000,
                    energy_mj=8),
        ),
        dropped=(Dropped(name="rank32", recipe="factorize(rank=32)", reason="slower than dense"),),
        tvm_version="0.27.0.post1",
        created=WHEN,
        network_sha256=NETWORK,
    )  # fmt: skip


def with_variant(base: LibraryParts, **changes: object) -> LibraryParts:
    """The same library with its first variant changed."""
    first, *rest = base.variants
    return replace(base, variants=(replace(first, **changes), *rest))


def doubled() -> LibraryParts:
    """The same library under another name, the dense variant's weights doubled."""
    twice = {name: 2 * value for name, value in weights(None).items()}
    return with_variant(replace(parts(), name="doubled"), weights=twice)


def forge(folder: Path, change: Callable[[dict], object]) -> None:
    """Rewrite the manifest with a matching digest, as someone who knows the format would."""
    raw = json.loads((folder / MANIFEST_NAME).read_bytes())
    change(raw)
    data = json.dumps(raw).encode()
    (folder / MANIFEST_NAME).write_bytes(data)
    (folder / DIGEST_NAME).write_bytes(reader.digest_line(data))


def as_older(raw: dict, schema: int) -> dict:
    """A manifest as schema 3 wrote it, accuracies with intervals, or schema 2, without."""
    older = json.loads(json.dumps({**raw, "schema_version": schema}))
    del older["further_shapes"], older["padding"], older["states"], older["network_sha256"]
    for made in older["variants"]:
        del made["further_shapes"]
    for made in (*older["variants"], *older["dropped"]):
        cost = made["cost"]
        if cost is None:
            continue
        for now, then in (("metric", "accuracy"), ("validation_metric", "validation_accuracy")):
            found = cost.pop(now, None)
            for key in ("name", "direction", "unit", "against"):
                if found is not None:
                    found.pop(key, None)
            cost[then] = found
        for known in filter(None, cost.values()):
            known["interval"] = [0.5, 0.9] if known is cost["accuracy"] else None
        if schema == 2:
            for key in ("validation_accuracy", "cold_latency_p50_ms", "cold_latency_p90_ms"):
                cost.pop(key, None)
            for known in filter(None, cost.values()):
                known.pop("interval")
        if schema == 2 and made.get("agreement") is not None:
            made["agreement"].pop("ran", None)
    return older
