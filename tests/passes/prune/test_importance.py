"""Which channels matter: every importance against its formula, computed another way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.errors import PassError
from adaspring.frontend.data import Dataset
from adaspring.passes import Prune, run
from adaspring.passes.prune.coupling import coupling
from adaspring.passes.prune.importance import IMPORTANCES, scorer
from adaspring.passes.prune.prune import ChannelSlice
from adaspring.reference.executor import evaluate

from ...support.networks import MobileNetStyle, SmallResNet, TinyEncoder
from ...support.passes import Small, data, fingerprint, imported, known


def conv(c_in, c_out, kernel=3, **more):
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, **more)


def two_layers():
    return Small(lambda self, x: self.b(F.relu(self.a(x))), a=nn.Linear(5, 6), b=nn.Linear(6, 4))


def scores(model, name, samples=None, index=0):
    coupled = coupling(model)
    assert coupled.groups[index].why is None
    return scorer(model, name, samples)(coupled.atoms[index])


def labelled(model, count, classes, seed=0):
    samples = data(model, count, seed)
    labels = np.random.default_rng(seed).integers(0, classes, count)
    return Dataset(inputs=samples.inputs, targets=labels)


@pytest.mark.parametrize(("name", "order"), [("l1", 1), ("l2", 2)])
def test_norms_add_up_relative_to_their_mean(name, order):
    net = two_layers()
    a, b = net.a.weight.detach().double(), net.b.weight.detach().double()
    parts = [torch.linalg.vector_norm(w, order, dim=1) for w in (a, b.T)]
    wanted = sum(part / part.mean() for part in parts)
    np.testing.assert_allclose(scores(imported(net, (1, 5)), name), wanted, rtol=1e-6)


def test_the_filters_nearest_to_all_others_matter_least():
    net = Small(lambda self, x: self.b(F.relu(self.a(x))), a=conv(3, 7), b=conv(7, 2))
    rows = net.a.weight.detach().double().flatten(1).numpy()
    wanted = [sum(np.linalg.norm(row - other) for other in rows) for row in rows]
    found = scores(imported(net, (1, 3, 4, 4)), "geometric")
    np.testing.assert_allclose(found, wanted / np.mean(wanted), rtol=1e-6)


def test_the_power_of_a_channel_is_what_it_brings_to_every_reader():
    net = Small(
        lambda self, x: (self.b(F.relu(self.a(x))), self.c(F.relu(self.a(x)))),
        a=conv(3, 8),
        b=conv(8, 4, groups=2),
        c=conv(8, 3, 1),
    )
    model = imported(net, (1, 3, 5, 5))
    samples = data(model, 20)
    x = F.relu(net.a(torch.from_numpy(samples.inputs[0]))).double().square().mean(dim=(0, 2, 3))
    grouped = net.b.weight.detach().double().square().sum(dim=(2, 3)).reshape(2, 2, 4).sum(1)
    by_b = (grouped * x.reshape(2, 4)).sum(0)
    by_c = (net.c.weight.detach().double().square().sum(dim=(0, 2, 3)) * x).reshape(2, 4).sum(0)
    wanted = (by_b / by_b.mean() + by_c / by_c.mean()).detach().numpy()
    np.testing.assert_allclose(scores(model, "power", samples), wanted, rtol=1e-4)


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_taylor_is_the_squared_gradient_of_a_gate_on_each_channel(with_labels, batch):
    net = Small(
        lambda self, x: self.b(F.silu(self.a(x))).mean(dim=(2, 3)), a=conv(3, 6), b=conv(6, 4)
    )
    model = imported(net, (batch, 3, 5, 5))
    samples = labelled(model, 48 * batch, 4) if with_labels else data(model, 48 * batch)
    x = torch.from_numpy(samples.inputs[0]).split(16 * batch)
    total = np.zeros(6)
    for k, part in enumerate(x):
        gate = torch.ones(6, requires_grad=True)
        y = net.b(F.silu(net.a(part)) * gate.reshape(1, 6, 1, 1)).mean(dim=(2, 3))
        if with_labels:
            labels = torch.from_numpy(samples.labels).split(16 * batch)[k]
            loss = F.cross_entropy(y, labels)
        else:
            loss = y.square().sum() / (2 * 16)
        total += torch.autograd.grad(loss, gate)[0].numpy() ** 2 / len(x)
    np.testing.assert_allclose(scores(model, "taylor", samples), total, rtol=1e-3)


def test_taylor_finds_what_the_labels_need_where_power_is_misled():
    net = Small(lambda self, x: self.b(self.a(x)), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    with torch.no_grad():
        net.a.weight.copy_(torch.tensor([[10.0, 0.0], [0.0, 1.0]]))
        net.b.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))  # the large one cancels out
        net.a.bias.zero_(), net.b.bias.zero_()
    model = imported(net, (1, 2))
    samples = labelled(model, 64, 2)
    samples = Dataset(inputs=samples.inputs, targets=(samples.inputs[0][:, 1] > 0).astype(np.int64))
    kept = {
        name: Prune(keep_ratio=0.5, multiple_of=1, importance=name).plan(model, samples)[0].kept
        for name in ("power", "taylor")
    }
    assert kept == {"power": (0,), "taylor": (1,)}


@pytest.mark.parametrize("name", IMPORTANCES)
@pytest.mark.parametrize("network", [MobileNetStyle, TinyEncoder])
def test_every_importance_ranks_every_network(network, name):
    model = known(network)
    before, samples = fingerprint(model), labelled(model, 16, 10)
    prune = Prune(keep_ratio=0.5, importance=name)
    small = prune.apply(model, prune.plan(model, samples))
    assert all(np.isfinite(y).all() for y in evaluate(small, samples))
    assert fingerprint(model) == before


@pytest.mark.parametrize("name", IMPORTANCES)
def test_all_zero_weights_rank_by_their_order(name):
    net = two_layers()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    model = imported(net, (1, 5))
    prune = Prune(keep_ratio=0.5, multiple_of=1, importance=name)
    assert prune.plan(model, data(model, 8))[0].kept == (0, 1, 2)


@pytest.mark.parametrize("name", IMPORTANCES)
def test_an_outlier_of_ten_thousand_stays(name):
    net = two_layers()
    with torch.no_grad():
        net.a.weight[4] = net.b.weight[:, 4] = 1e4
        net.a.bias[4] = 1e4
    model = imported(net, (1, 5))
    prune = Prune(keep_ratio=0.5, multiple_of=1, importance=name)
    assert 4 in prune.plan(model, data(model, 32))[0].kept


@pytest.mark.parametrize("name", IMPORTANCES)
def test_weights_that_hold_nan_are_refused(name):
    net = two_layers()
    with torch.no_grad():
        net.a.weight[1, 1] = torch.nan
    model = imported(net, (1, 5))
    with pytest.raises(PassError, match="a: weights or gradients hold NaN"):
        Prune(keep_ratio=0.5, multiple_of=1, importance=name).plan(model, data(model, 4))


def test_without_a_setting_data_rank_by_power_and_no_data_by_norms():
    model = known(SmallResNet)
    samples = data(model, 8)

    def kept(importance, calibration):
        decisions = Prune(keep_ratio=0.5, importance=importance).plan(model, calibration)
        return [d.kept for d in decisions if isinstance(d, ChannelSlice)]

    assert kept(None, samples) == kept("power", samples) != kept("l2", samples)
    assert kept(None, None) == kept("l2", None)


def test_an_unknown_importance_is_refused_with_the_choices():
    with pytest.raises(PassError, match=r"importance is 'L1'; choose from None, l1, l2, geometric"):
        Prune(keep_ratio=0.5, importance="L1")


@pytest.mark.parametrize("name", ["power", "taylor"])
def test_an_importance_that_needs_data_says_so(name):
    with pytest.raises(PassError, match=f"importance={name!r}.* needs calibration data"):
        run(known(SmallResNet), (Prune(keep_ratio=0.5, importance=name),), None)


def test_a_label_that_no_score_stands_for_is_refused():
    model = imported(two_layers(), (1, 5))
    samples = Dataset(inputs=data(model, 2).inputs, targets=np.array([0, 4]))
    with pytest.raises(PassError, match="have label 4, the network's first output 4 scores"):
        Prune(keep_ratio=0.5, importance="taylor").plan(model, samples)


def test_an_operator_without_gradient_is_named():
    net = Small(
        lambda self, x: self.b(F.interpolate(self.a(x), scale_factor=2)), a=conv(3, 8), b=conv(8, 2)
    )
    model = imported(net, (1, 3, 4, 4))
    with pytest.raises(PassError, match=r"relax.image.resize2d in this form has no gradient"):
        run(model, (Prune(keep_ratio=0.5, importance="taylor"),), data(model, 2))
