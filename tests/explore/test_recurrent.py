"""A trained recurrent network goes the whole way: compressed, judged, built, run as a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import adaspring
from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import BuildError, UsageError
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import Prune, Quantize, SixteenBit, WeightOnly

pytestmark = pytest.mark.slow

STEPS, WIDTH, HIDDEN, CLASSES = 20, 2, 24, 3
RECIPES = (
    DENSE,
    Recipe(name="int8-weights", passes=(WeightOnly(),)),
    Recipe(name="bf16", passes=(SixteenBit(),)),
    Recipe(name="int8", passes=(Quantize(),)),
    Recipe(name="pruned", passes=(Prune(keep_ratio=0.5),)),
)


class Classifier(nn.Module):
    """Which frequency a noisy signal has, from its last step; the state goes in and out."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(WIDTH, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x, h):
        y, hn = self.layer(x, h)
        return self.head(y[:, -1]), hn


def signals(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    phase = (0.2 + 0.25 * labels[:, None]) * np.arange(STEPS) + rng.uniform(0, 6.28, (count, 1))
    x = np.stack([np.sin(phase), np.cos(phase)], -1) + rng.normal(0, 0.3, (count, STEPS, WIDTH))
    return x.astype(np.float32), labels.astype(np.int64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network, (x, labels) = Classifier(), signals(256, 0)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        scores, _ = network(torch.from_numpy(x), torch.zeros(1, 256, HIDDEN))
        nn.functional.cross_entropy(scores, torch.from_numpy(labels)).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def model(network):
    example = torch.zeros(1, STEPS, WIDTH), torch.zeros(1, 1, HIDDEN)
    made = from_torch(network, example, name="signals")
    return replace(made, outputs=tuple(
        replace(spec, name=name) for spec, name in zip(made.outputs, ("scores", "hn"), strict=True)
    ))  # fmt: skip


def samples(count, seed):
    x, labels = signals(count, seed)
    return Dataset(inputs=(x, np.zeros((count, 1, HIDDEN), np.float32)), targets=labels)


def test_every_recipe_is_in_the_library_or_left_out_in_words(model, network, tmp_path):
    result = adaspring.compile(
        model,
        tmp_path / "signals.lib",
        boards=(targets.null(),),
        data=samples(150, 1),
        recipes=RECIPES,
        tuning=Tuning(trials=0),
        logs=tmp_path / "logs",
    )
    with adaspring.load(tmp_path / "signals.lib") as library:
        net = library.open()
    manifest = library.manifest
    dropped = {each.name: each.reason for each in manifest.dropped}
    skipped = {each.name for each in result.skipped}
    left = {recipe.name for recipe in RECIPES} - set(net.variants) - set(dropped)
    assert left <= skipped
    assert "every layer is left alone" in dropped.get("pruned", "every layer is left alone")
    assert manifest.variant("dense").cost.metric.value > 0.8
    assert [(state.input, state.output) for state in manifest.states] == [("h", "hn")]
    stream, (x, _) = net.stream(), signals(1, 3)
    halves = [stream(x), stream(x)]
    with torch.no_grad():
        twice = torch.from_numpy(np.concatenate([x, x], axis=1))
        wanted, _ = network(twice, torch.zeros(1, 1, HIDDEN))
    np.testing.assert_allclose(halves[1], wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_states_that_do_not_fit_are_refused_before_any_work(model, tmp_path):
    request = adaspring.Request(model=model, output=tmp_path / "lib", states={"h": "scores"})
    with pytest.raises(UsageError, match=r"the state h=scores does not fit: h is float32"):
        adaspring.plan(request)


def test_a_gpu_has_no_kernel_for_a_loop(model):
    gpu = next(board for board in targets.BOARDS if board.device != "cpu")
    with pytest.raises(BuildError, match="a recurrent layer's loop has no kernel for GPUs"):
        prepare(model, gpu)
