"""One library of several shapes: each right, weights shared, padded where that changes nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import adaspring
from adaspring import targets
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import DataError, InputError, ModelError, UsageError
from adaspring.explore.compile import compile_model
from adaspring.explore.plan import plan
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.library.reader import read_manifest
from adaspring.passes.prune.prune import Prune
from adaspring.passes.quantize.static import Quantize

from ...support.free_shapes import (
    Mean,
    export_encoder,
    export_words,
    masked_dense,
    run_torch,
    words,
)

pytestmark = pytest.mark.slow

LENGTHS = (8, 16, 32)
SHAPES = [{"ids": (1, t), "mask": (1, t)} for t in LENGTHS] + [{"ids": (4, 16), "mask": (4, 16)}]
PAD = {"ids": 0, "mask": 0}
RECIPES = (
    DENSE,
    Recipe(name="pruned", passes=(Prune(keep_ratio=0.5, multiple_of=4),)),
    Recipe(name="int8", passes=(Quantize(),)),
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    network = export_encoder(folder / "encoder.pt2")
    ids, mask = words(40, 16)
    labels = run_torch(network, ids, mask)[0].argmax(1)
    np.savez(folder / "held.npz", ids=ids, mask=mask, y=labels)
    return folder, network


def settings(**changes):
    return {
        "boards": (targets.null(),),
        "shapes": SHAPES,
        "pad": PAD,
        "recipes": RECIPES,
        "bounds": Bounds(max_drop=1.0, front_only=False),
        "tuning": Tuning(trials=0),
        **changes,
    }


@pytest.fixture(scope="module")
def compiled(encoder):
    folder, _ = encoder
    given = settings(data=folder / "held.npz", logs=folder / "logs")
    compile_model(folder / "encoder.pt2", folder / "lib", **given)
    return folder / "lib"


def test_the_shape_of_the_data_comes_first_the_others_in_the_order_given(compiled):
    manifest = read_manifest(compiled)
    shapes = [signature.inputs[0].shape for signature in manifest.signatures]
    assert shapes == [(1, 16), (1, 8), (1, 32), (4, 16)]
    assert manifest.signatures[3].outputs[1].shape == (4, 16, 16)


def test_every_variant_agrees_with_its_reference_at_every_shape(compiled):
    manifest = read_manifest(compiled)
    assert manifest.variants[0].name == "dense"
    assert len(manifest.variants) > 1
    for variant in manifest.variants:
        for each in variant.executables:
            assert each.agreement.max_error_ratio <= each.agreement.tolerance_ratio
            assert each.cost.latency_p50_ms.origin == "measured"
            assert each.cost.metric == variant.cost.metric
        macs = [each.cost.macs_count.value for each in variant.executables]
        assert macs[1] < macs[0] < macs[2]


@pytest.mark.parametrize("shape", [(1, 8), (1, 16), (1, 32), (4, 16)])
def test_a_call_runs_what_was_compiled_for_its_shape(compiled, encoder, shape):
    net, given = adaspring.load(compiled).open(), words(*shape, seed=3)
    for ours, right in zip(net(*given), run_torch(encoder[1], *given), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (1, 13), (1, 20), (2, 11), (3, 16)])
def test_a_call_between_shapes_is_padded_and_its_outputs_cut_back(compiled, encoder, shape):
    net, given = adaspring.load(compiled).open(preload=False), words(*shape, seed=4)
    for ours, right in zip(net(*given), run_torch(encoder[1], *given), strict=True):
        assert ours.shape == right.shape
        np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (words(1, 33), r"inputs are ids: int64 \(1, 33\), mask.*; the network takes .*\(1, 32\)"),
        (words(5, 8), r"inputs are ids: int64 \(5, 8\), .*\(4, 16\)"),
        ((words(1, 9)[0], words(1, 10)[1]), "share is 9 in ids, 10 in mask"),
        ((words(1, 8)[0].astype(np.float32), words(1, 8)[1]), r"ids is float32 \(1, 8\)"),
        ((words(1, 8)[0], [[1] * 8]), r"inputs are ids: int64 \(1, 8\), mask: list; the network"),
    ],
)
def test_a_call_that_fits_no_shape_is_refused_with_the_shapes_there_are(compiled, given, message):
    with pytest.raises(InputError, match=message):
        adaspring.load(compiled).open(preload=False)(*given)


def test_variants_switch_at_any_shape(compiled):
    net, given = adaspring.load(compiled).open(), words(1, 32)
    dense = net(*given)[1]
    net.use("pruned")
    pruned = net(*given)[1]
    assert np.abs(pruned - dense).max() > 1e-3
    net.use("dense")
    np.testing.assert_array_equal(net(*given)[1], dense)


def test_weights_are_stored_and_held_once_for_all_shapes(compiled):
    manifest, library = read_manifest(compiled), adaspring.load(compiled)
    for variant in manifest.variants:
        assert len({each.weights for each in variant.executables}) == 1
    library.open("dense", preload=False)
    held = library.weights_bytes
    library.open("dense")(*words(1, 32))
    every = adaspring.load(compiled)
    for shape in range(len(manifest.signatures)):
        every.executable("dense", shape=shape)
    assert every.weights_bytes == held


def test_an_app_without_the_compiler_runs_every_shape(compiled):
    code = f"""
import sys
for name in ("tvm", "torch", "onnx"):
    sys.modules[name] = None
import numpy as np, adaspring
net = adaspring.load({str(compiled)!r}).open()
for n, t in ((1, 8), (1, 32), (1, 9), (4, 16)):
    assert net(np.ones((n, t), np.int64), np.ones((n, t), np.int64))[1].shape == (n, t, 16)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_padding_is_refused_where_the_network_has_no_mask(tmp_path):
    export_words(tmp_path / "mean.pt2", Mean)
    shapes = [{"ids": (1, 8)}, {"ids": (1, 16)}]
    request = {"output": tmp_path / "lib", **settings(shapes=shapes, recipes=(DENSE,))}
    with pytest.raises(ModelError, match="the network has no mask that hides these values"):
        plan(Request(model=tmp_path / "mean.pt2", **request | {"pad": {"ids": 0}}))
    compile_model(tmp_path / "mean.pt2", **request | {"pad": {}})
    with pytest.raises(InputError, match=r"are ids: int64 \(1, 9\); the network takes .*\(1, 16\)"):
        adaspring.load(tmp_path / "lib").open()(words(1, 9)[0])


def test_an_onnx_file_with_named_dimensions_becomes_one_library(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    masked_dense(tmp_path / "masked.onnx")
    shapes = [{"x": (1, 4, 4)}, {"x": (2, 8, 4)}]
    given = settings(shapes=shapes, recipes=(DENSE,), pad={"x": 0, "mask": 0})
    compile_model(tmp_path / "masked.onnx", tmp_path / "lib", **given)
    net, session = (
        adaspring.load(tmp_path / "lib").open(),
        onnxruntime.InferenceSession(tmp_path / "masked.onnx"),
    )
    for n, t in ((1, 4), (2, 8), (1, 3), (2, 5)):
        rng = np.random.default_rng(t)
        x = rng.standard_normal((n, t, 4)).astype(np.float32)
        mask = rng.standard_normal((n, t, 1)).astype(np.float32)
        (right,) = session.run(None, {"x": x, "mask": mask})
        np.testing.assert_allclose(net(x=x, mask=mask), right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shapes": SHAPES[:1]}, UsageError, "'ids' is padded, but is no input whose shapes"),
        ({"pad": {"ids": 0}}, UsageError, "input 'mask' has several shapes, and no value"),
        (
            {"shapes": [{"ids": (1, 16)}, {"ids": (4, 8)}]},
            UsageError,
            "no shape is larger than another",
        ),
        ({"shapes": [*SHAPES, SHAPES[0]]}, UsageError, "is given twice"),
        ({"shapes": SHAPES[:1] * 2}, UsageError, "is given twice"),
        ({"shapes": [SHAPES[0], {"ids": (1, 99)}]}, UsageError, "another ids; name the same"),
        ({"shapes": [{"ids": (1, 8)}, {"ids": (1, 99)}]}, ModelError, "99 is out of that range"),
        ({"shapes": SHAPES[:1] + SHAPES[2:3], "pad": {}}, DataError, "of no shape that is"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(encoder, tmp_path, changes, error, message):
    folder, _ = encoder
    given = settings(**changes, data=folder / "held.npz", output=tmp_path / "lib")
    with pytest.raises(error, match=message) as caught:
        plan(Request(model=folder / "encoder.pt2", check_import=False, **given))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "lib").exists()
