"""The picture of a library: what each variant costs and what it yields."""

from __future__ import annotations

from pathlib import Path

from ...library.manifest import Manifest, Variant

_BARS = (
    ("latency", "latency_p50_ms"),
    ("energy", "energy_mj"),
    ("memory", "peak_memory_bytes"),
    ("size", "size_bytes"),
)


def draw(manifest: Manifest, path: Path) -> None:
    """Save the cost front of a measured library, and its costs as shares of the plainest's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    front, bars = figure.subplots(1, 2)
    colors = {v.name: f"C{index}" for index, v in enumerate(manifest.variants)}
    _front(front, manifest, colors)
    _bars(bars, manifest, colors)
    handles, labels = bars.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle(f"{manifest.name} on {manifest.board.name}", fontweight="bold")
    figure.savefig(path, dpi=130)


def _front(axes, manifest: Manifest, colors: dict[str, str]) -> None:
    """Accuracy over latency; a dashed line joins the variants that nothing else beats in both."""
    points = sorted(
        (v.cost.latency_p50_ms.value, 100 * v.cost.metric.value, v.name)
        for v in manifest.variants
        if v.cost.latency_p50_ms and v.cost.metric
    )
    best, front = float("-inf"), []
    for latency, accuracy, name in points:
        axes.scatter(latency, accuracy, s=90, color=colors[name], zorder=3)
        if accuracy > best:
            best = accuracy
            front.append((latency, accuracy))
    if front:
        front.append((points[-1][0], best))
        axes.step(*zip(*front, strict=True), where="post", color="0.6", linestyle="--", zorder=1)
        axes.set_ylim(min(accuracy for _, accuracy, _ in points) - 1, best + 1)
    axes.set_xlim(left=0)
    axes.set_xlabel("latency p50, ms (measured)")
    axes.set_ylabel("accuracy on the test split, % (measured)")
    axes.set_title("cost front")
    axes.grid(alpha=0.3)


def _bars(axes, manifest: Manifest, colors: dict[str, str]) -> None:
    """Each cost of each variant as a share of the plainest's."""
    plainest = manifest.variant(manifest.plainest)
    width = 0.8 / len(manifest.variants)
    for index, variant in enumerate(manifest.variants):
        shares = [_share(variant, plainest, field) for _, field in _BARS]
        places = [i + (index - (len(manifest.variants) - 1) / 2) * width for i in range(len(_BARS))]
        axes.bar(places, shares, width, label=variant.name, color=colors[variant.name])
    labels = [f"{label}\n({_origin(plainest, field)})" for label, field in _BARS]
    axes.set_xticks(range(len(_BARS)), labels)
    axes.set_ylabel(f"share of {plainest.name}")
    axes.set_title("costs")
    axes.grid(axis="y", alpha=0.3)


def _share(variant: Variant, plainest: Variant, field: str) -> float:
    ours, theirs = getattr(variant.cost, field), getattr(plainest.cost, field)
    return ours.value / theirs.value if ours and theirs else float("nan")


def _origin(variant: Variant, field: str) -> str:
    figure = getattr(variant.cost, field)
    return figure.origin if figure else "not known"
