from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import adaspring
from adaspring import targets
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import GateError, LibraryError, UsageError
from adaspring.explore.compile import BoardResult, compile_libraries
from adaspring.explore.plan import plan
from adaspring.explore.recipes import DENSE, RECIPES, Recipe, find_recipes
from adaspring.explore.request import Bounds, Request
from adaspring.frontend.data import Dataset, split
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.reader import read_manifest
from adaspring.passes.prune.prune import Prune
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from ..support import networks

pytestmark = pytest.mark.slow

QUICK = (
    DENSE,
    Recipe(name="pruned", passes=(Prune(keep_ratio=0.5, multiple_of=4),)),
    Recipe(name="int8", passes=(Quantize(),)),
)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((100, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def model(images):
    """A residual network whose answers vary: its scores are centred on the images."""
    network = networks.SmallResNet()
    with torch.no_grad():
        network.fc.bias -= network(torch.from_numpy(images)).mean(0)
    return from_torch(network, networks.example_inputs(network), name="small")


@pytest.fixture(scope="module")
def splits(model, images):
    """The images labelled by the dense network itself, so that its accuracy is 1."""
    labels = evaluate(model, Dataset(inputs=(images,)))[0].argmax(1)
    assert len(np.unique(labels)) > 3
    return split(Dataset(inputs=(images,), targets=labels), seed=0)


def request(model, folder: Path, **changes) -> Request:
    settings = {
        "boards": (targets.null(),),
        "output": folder / "lib",
        "recipes": QUICK,
        "bounds": Bounds(max_drop=1.0, front_only=False),
        "tuning": Tuning(trials=0),
        "logs": folder / "logs",
    }
    return Request(model=model, **(settings | changes))


@pytest.fixture(scope="module")
def compiled(model, splits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    result = compile_libraries(plan(request(model, folder, data=splits)))
    return folder / "lib", result


def test_every_recipe_ends_in_the_library_or_among_the_dropped_with_a_reason(compiled):
    manifest = read_manifest(compiled[0])
    names = [entry.name for entry in (*manifest.variants, *manifest.dropped)]
    assert sorted(names) == sorted(recipe.name for recipe in QUICK)
    assert manifest.variants[0].name == manifest.plainest == "dense"
    assert all(entry.reason for entry in manifest.dropped)


def test_figures_of_a_board_that_is_here_are_measured(compiled):
    for variant in read_manifest(compiled[0]).variants:
        assert variant.cost.latency_p50_ms.origin == "measured"
        assert variant.cost.metric.origin == "measured"
        assert variant.cost.energy_mj.origin == "modelled"
        assert variant.agreement.max_error_ratio <= variant.agreement.tolerance_ratio


def test_the_library_gives_the_references_answers(compiled, model, splits):
    wanted = evaluate(model, splits.test)[0]
    net = adaspring.load(compiled[0]).open("dense")
    ours = np.concatenate([net(image[None]) for image in splits.test.inputs[0]])
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)


def test_accuracy_is_that_of_the_test_split(compiled, splits):
    net = adaspring.load(compiled[0]).open()
    for variant in read_manifest(compiled[0]).variants:
        net.use(variant.name)
        answers = [net(image[None]).argmax() for image in splits.test.inputs[0]]
        right = float(np.mean(np.array(answers) == splits.test.labels))
        assert variant.cost.metric.value == pytest.approx(right)


def test_compiling_leaves_the_model_as_it_was(model, splits, tmp_path):
    import tvm_ffi

    before = tvm_ffi.structural_hash(model.module)
    weights = {name: value.copy() for name, value in model.weights.items()}
    compile_libraries(plan(request(model, tmp_path, recipes=QUICK[:2], data=splits)))
    assert tvm_ffi.structural_hash(model.module) == before
    assert all(np.array_equal(model.weights[name], value) for name, value in weights.items())


@pytest.mark.usefixtures("aarch64_linker")
def test_a_board_that_is_not_here_gets_a_library_that_says_so(model, splits, tmp_path):
    boards = (targets.find("raspberry-pi-5"), targets.find("rock-5b-mali"))
    result = compile_libraries(plan(request(model, tmp_path, boards=boards, data=splits)))
    for board in result.boards:
        assert isinstance(board, BoardResult)
        for variant in read_manifest(tmp_path / "lib" / board.board.name).variants:
            assert variant.cost.latency_p50_ms is None
            assert variant.agreement.max_error_ratio <= variant.agreement.tolerance_ratio
            assert variant.agreement.ran.startswith("what it was lowered to")
            assert variant.cost.metric.origin == "modelled"
            assert "not run on" in variant.cost.metric.how


def test_without_data_what_needs_none_is_built_and_the_rest_is_named(model, tmp_path):
    result = compile_libraries(plan(request(model, tmp_path)))
    manifest = read_manifest(tmp_path / "lib")
    assert [entry.name for entry in result.skipped] == ["int8"]
    assert "--data" in result.skipped[0].reason
    assert manifest.variants[0].cost.metric is None


def test_an_accuracy_bound_that_nothing_compressed_meets_leaves_the_dense_network(
    model, splits, tmp_path
):
    ruin = Recipe(name="ruined", passes=(Prune(keep_ratio=0.05, multiple_of=1),))
    bounds = Bounds(max_drop=0.0)
    compile_libraries(
        plan(request(model, tmp_path, recipes=(DENSE, ruin), data=splits, bounds=bounds))
    )
    manifest = read_manifest(tmp_path / "lib")
    assert [variant.name for variant in manifest.variants] == ["dense"]
    assert "top1 falls by" in manifest.dropped[0].reason


def test_a_latency_that_nothing_meets_writes_no_library(model, tmp_path):
    bounds = Bounds(max_drop=1.0, latency_ms=1e-6)
    with pytest.raises(GateError, match="above the asked"):
        compile_libraries(plan(request(model, tmp_path, recipes=QUICK[:1], bounds=bounds)))
    assert not (tmp_path / "lib").exists()


def test_a_folder_that_is_not_a_library_is_refused_before_the_work_and_kept(model, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "thesis.txt").write_text("precious")
    with pytest.raises(LibraryError, match=r"thesis\.txt"):
        compile_libraries(plan(request(model, tmp_path)))
    assert (tmp_path / "lib" / "thesis.txt").read_text() == "precious"


def test_recipes_are_found_by_name_and_dense_always_comes_first():
    assert [r.name for r in find_recipes(("int8",))] == ["dense", "int8"]
    assert find_recipes(()) == RECIPES
    with pytest.raises(UsageError, match="choose from dense"):
        find_recipes(("pruned-everything",))
