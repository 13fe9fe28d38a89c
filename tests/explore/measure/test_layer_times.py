"""Single layers are built and timed on this machine, and only there."""

from torch import nn

from adaspring import targets
from adaspring.explore.board.site import find_site
from adaspring.explore.measure.layer_times import LayerTimes, with_layer_times
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.ir.layers import layers
from adaspring.ir.pieces.extract import extract_layer
from adaspring.passes import Factorize, Kept, Prune
from adaspring.passes.factorize.factorize import Split

from ...support.passes import Small, imported

FACTORIZED = Recipe(
    name="factorized", passes=(Prune(keep_ratio=0.5), Factorize(max_error_ratio=0.2))
)


def timed(tmp_path, *boards):
    return with_layer_times((DENSE, FACTORIZED), [find_site(b, tmp_path, None) for b in boards])


def test_a_heavy_layer_takes_longer_than_a_light_one_and_both_are_timed_once(tmp_path, monkeypatch):
    net = Small(
        lambda self, x: self.heavy(x) + self.light(x),
        heavy=nn.Conv2d(8, 64, 5, padding=2),
        light=nn.Conv2d(8, 64, 1),
    )
    model = imported(net, (1, 8, 32, 32))
    pair = [extract_layer(model, layer) for layer in layers(model)]
    times = LayerTimes(find_site(targets.null(), tmp_path, None))
    heavy_ms, light_ms = times(pair)  # 25 times as many multiply-adds
    assert 0 < light_ms < heavy_ms
    monkeypatch.setattr("adaspring.explore.measure.layer_times.build", None)
    assert times(pair) == (heavy_ms, light_ms)


def test_recipes_are_timed_on_the_one_board_that_is_this_machine(tmp_path):
    here, there = targets.null(), targets.find("raspberry-pi-5")
    dense, factorized = timed(tmp_path, here)
    assert dense == DENSE
    assert factorized.passes[1].timer is not None
    assert factorized == FACTORIZED
    for boards in ((there,), (here, there)):
        assert timed(tmp_path, *boards)[1].passes[1].timer is None


def test_compiling_decides_by_measured_times(tmp_path):
    _, recipe = timed(tmp_path, targets.null())
    factorize = Factorize(max_error_ratio=0.9, multiple_of=16, timer=recipe.passes[1].timer)
    net = Small(lambda self, x: self.c(x), c=nn.Conv2d(64, 64, 3, padding=1))
    net.c.weight.data[:] = net.c.weight.data[:1, :1]
    model = imported(net, (1, 64, 32, 32))
    (decision,) = factorize.plan(model, None)
    assert isinstance(decision, Split | Kept)
    if isinstance(decision, Split):
        assert decision.parts_ms <= 0.95 * decision.whole_ms
    else:
        assert "ms, the whole layer" in decision.why
