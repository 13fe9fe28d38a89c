"""The table of the real networks, and what it comes to against the goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

Found = Mapping[str, Any]
HEADINGS = (
    "network", "variant", "metric", "on held-out data", "size", "p50 ms", "/ dense",
    "x ONNX Runtime", "x OpenVINO",
)  # fmt: skip


def table(results: Sequence[Found]) -> Table:
    """A row for each variant; ratios are speeds, above 1 where ours is the faster."""
    made = Table(title="networks that somebody trained")
    for index, heading in enumerate(HEADINGS):
        made.add_column(heading, justify="left" if index < 3 else "right")
    for found in results:
        for row in rows(found):
            made.add_row(*row)
        made.add_section()
    return made


def rows(found: Found) -> Iterator[tuple[str, ...]]:
    """The cells of a network's variants."""
    dense = found["variants"][0]["variant"]
    for index, variant in enumerate(found["variants"]):
        name, p50 = variant["variant"], found["p50_ms"]
        yield (
            found["network"] if index == 0 else "",
            name,
            variant["metric"],
            _score(variant),
            f"{variant['size_bytes'] / 1e6:.2f} MB",
            f"{p50[name]:.3f}",
            f"{p50[name] / p50[dense]:.2f}",
            _ratio(found, "onnxruntime", name),
            _ratio(found, "openvino", name),
        )


def goals(found: Found) -> dict[str, bool]:
    """Whether a network reaches each goal."""
    dense, *others = found["variants"]
    over = found["over"]
    near = [each for each in others if _loss(dense, each) <= 0.01 * max(abs(dense["value"]), 1e-9)]
    faster = [over[f"{dense['variant']} over {each['variant']}"]["median"] >= 1.5 for each in near]
    peer = over.get(f"onnxruntime over {dense['variant']}")
    return {
        "agrees with ONNX Runtime to 1e-4": found["disagreement"] <= 1e-4,
        "a variant 1.5 x as fast within 1 % of the metric": any(faster),
        "dense as fast as ONNX Runtime": peer is not None and peer["median"] >= 1.0,
    }


def describe(found: Found) -> str:
    """A line: times of import and build, agreement, and which goals are missed."""
    missed = [goal for goal, reached in goals(found).items() if not reached]
    return (
        f"{found['network']}: imported in {found['import_s']:.1f} s, compiled in "
        f"{found['compile_s']:.0f} s ({found['tuning_s']:.0f} s of them tuning), differs from ONNX "
        f"Runtime by {found['disagreement']:.1e}; missed: {', '.join(missed) or 'nothing'}"
    )


def _loss(dense: Found, variant: Found) -> float:
    lost = dense["value"] - variant["value"]
    return float(lost if dense["higher_is_better"] else -lost)


def _score(variant: Found) -> str:
    text, interval = f"{variant['value']:.4g}", variant["interval"]
    return text if interval is None else f"{text} ({interval[0]:.4g} to {interval[1]:.4g})"


def _ratio(found: Found, other: str, name: str) -> str:
    ratio = found["over"].get(f"{other} over {name}")
    return "-" if ratio is None else f"{ratio['median']:.2f}"
