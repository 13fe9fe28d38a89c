"""A library of several shapes on disk: written, read, and refused where it contradicts itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from adaspring.errors import ManifestError, UsageError
from adaspring.library import reader, writer
from adaspring.library.context import Context
from adaspring.library.manifest import MANIFEST_NAME, Signature, TensorSpec
from adaspring.library.parts import ExecutableParts, LibraryParts
from adaspring.library.policies import Balanced
from adaspring.library.shapes.choice import decide_by_shape

from ...support.libraries import as_older, cost, forge, functions, parts, weights


def resized(specs: tuple[TensorSpec, ...], rows: int) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=s.name, shape=(rows, *s.shape[1:]), dtype=s.dtype) for s in specs)


def two_shapes(code: Path, **changes: object) -> LibraryParts:
    """The tiny library at 2 and at 8 rows; at 8 its dense variant is the fastest."""
    first, ranks = parts(code), {"dense": None, "rank16": 16, "rank4": 4}
    variants = tuple(
        replace(
            variant,
            further_shapes=(
                ExecutableParts(
                    code_path=code,
                    functions=functions(ranks[variant.name]),
                    weights=weights(ranks[variant.name]),
                    cost=cost(latency_p90_ms=1 if variant.name == "dense" else 9, metric=0.9),
                ),
            ),
        )
        for variant in first.variants
    )
    further = Signature(inputs=resized(first.inputs, 8), outputs=resized(first.outputs, 8))
    return replace(first, variants=variants, further_shapes=(further,), **changes)


@pytest.fixture
def library(tmp_path: Path, code: Path) -> Path:
    folder = tmp_path / "two.lib"
    writer.write_library(folder, two_shapes(code, padding={"image": 0.0, "mask": 0.0}))
    return folder


def test_every_shape_is_read_back_with_its_executables(library):
    manifest = reader.read_manifest(library)
    reader.verify_files(library, manifest)
    assert [s.inputs[0].shape for s in manifest.signatures] == [(2, 48), (8, 48)]
    for variant in manifest.variants:
        first, second = variant.executables
        assert first.cost.latency_p90_ms != second.cost.latency_p90_ms
        assert {first.code, second.code} <= {record.path for record in manifest.files}
        assert variant.at(1).cost == second.cost
        assert variant.at(1).executables == (variant.at(1),)
    assert manifest.at(1).inputs == manifest.signatures[1].inputs
    assert manifest.at(1).signatures == (manifest.at(1),)


def test_weights_of_all_shapes_are_stored_once(library, tmp_path, code):
    once = tmp_path / "once.lib"
    writer.write_library(once, parts(code))
    sizes = [(lib / "weights/shared.safetensors").stat().st_size for lib in (library, once)]
    assert sizes[0] == sizes[1]
    for variant in reader.read_manifest(library).variants:
        assert len({each.weights for each in variant.executables}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["variants"][1].update(further_shapes=[]), "'rank16' has 1 of 2 shapes"),
        (lambda m: m["further_shapes"].clear(), "'dense' has 2 of 1 shapes"),
        (
            lambda m: m["further_shapes"][0].update(inputs=m["inputs"]),
            "a shape is listed twice",
        ),
        (
            lambda m: m["further_shapes"][0]["inputs"][0].update(name="other"),
            "differ in more than the extents",
        ),
        (
            lambda m: m["further_shapes"][0]["outputs"][0].update(dtype="float64"),
            "differ in more than the extents",
        ),
        (lambda m: m["further_shapes"][0]["inputs"][0].update(shape=[0, 48]), ">= 1"),
        (lambda m: m.update(padding={"image": 0.0}), "input 'mask' has several shapes, and no"),
        (lambda m: m.update(padding={"x": 0.0}), "'x' is padded"),
        (lambda m: m.update(padding={"image": "0"}), "Expected `float`"),
        (
            lambda m: m["variants"][0]["further_shapes"][0].update(code="code/none.so"),
            "'code/none.so' is used but not",
        ),
        (
            lambda m: m["variants"][0]["further_shapes"][0].update(name="again"),
            "unknown field `name`",
        ),
        (
            lambda m: m["variants"][0]["further_shapes"][0]["cost"]["metric"].update(name="auc"),
            "it has 2 metrics",
        ),
    ],
)
def test_a_manifest_whose_shapes_contradict_each_other_is_refused(library, change, message):
    forge(library, change)
    with pytest.raises(ManifestError, match=message) as caught:
        reader.read_manifest(library)
    assert "\n" not in str(caught.value)


def test_a_policy_decides_by_the_costs_of_the_shape_that_the_context_names(library):
    decide = decide_by_shape(Balanced(), (reader.read_manifest(library),))
    assert decide(Context(latency_budget_ms=3)).variant == "rank4"
    first = Context(latency_budget_ms=3, shapes={"image": (2, 48)})
    assert decide(first).variant == "rank4"
    second = Context(latency_budget_ms=3, shapes={"image": (8, 48)})
    assert decide(second).variant == "dense"


@pytest.mark.parametrize("shapes", [{"image": (3, 48)}, {"x": (2, 48)}, {"image": ()}])
def test_a_context_of_a_shape_that_there_is_none_of_is_refused(library, shapes):
    decide = decide_by_shape(Balanced(), (reader.read_manifest(library),))
    with pytest.raises(UsageError, match=r"image: float32 \(2, 48\).* or image: .*\(8, 48\)"):
        decide(Context(shapes=shapes))


@pytest.mark.parametrize("shapes", [(1, 16), "ids", {"ids": 16}, {"ids": (1.5,)}, {1: (1, 2)}])
def test_shapes_of_a_context_that_are_none_are_refused(shapes):
    with pytest.raises(UsageError, match="give the shape of each input by its name"):
        Context(shapes=shapes)


def test_a_library_of_schema_3_is_read_as_one_shape(tmp_path, code):
    writer.write_library(tmp_path / "x", parts(code))
    raw = json.loads((tmp_path / "x" / MANIFEST_NAME).read_bytes())
    written = reader.decode_manifest(json.dumps(raw).encode(), tmp_path)
    older = reader.decode_manifest(json.dumps(as_older(raw, 3)).encode(), tmp_path)
    assert [v.functions for v in older.variants] == [v.functions for v in written.variants]
    assert older.signatures == (older,)
