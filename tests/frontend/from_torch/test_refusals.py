"""What is not imported is refused by name, with the reason; nothing fails unexpectedly."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.errors import AdaspringError, ModelError, UnsupportedOperator
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.frontend.from_torch.operator_call import HARMLESS, arguments_of
from adaspring.frontend.from_torch.operators import MADE_OF_CONSTANTS, TABLE
from adaspring.frontend.load import load_model

from ...support.aten_forms import check, floats, form, integers
from ...support.networks import Fn

X, IMAGE = floats(2, 5, 6), floats(2, 4, 9, 7)
RANDOM, DOUBLE = "it is random", "computes in float64"
UNSUPPORTED = {
    "rand": (form(lambda x: x + torch.rand(6), X), RANDOM),
    "randn_like": (form(lambda x: x + torch.randn_like(x), X), RANDOM),
    "bernoulli": (form(lambda x: torch.bernoulli(x.sigmoid()), X), RANDOM),
    "multinomial": (form(lambda x: torch.multinomial(x[0].sigmoid(), 2), X), RANDOM),
    "dropout that stays on": (form(lambda x: F.dropout(x, 0.5, training=True), X), "dropout"),
    "dropout in attention": (
        form(lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), X),
        "dropout_p = 0.5",
    ),
    "double": (form(lambda x: x.double().exp().float(), X), DOUBLE),
    "a sum in double": (form(lambda x: x.sum(1, dtype=torch.float64).float(), X), DOUBLE),
    "float_power": (form(lambda x: torch.float_power(x, 2), X), DOUBLE),
    "complex": (
        form(lambda x: torch.fft.rfft(x).exp().abs(), X),
        r"aten\.exp\.default .* no translation of complex numbers",
    ),
    "a large transform": (
        form(lambda x: torch.fft.rfft(x).abs(), floats(1, 5000)),
        "its matrix would be 5000 x 5002; give it fewer samples",
    ),
    "bags that start anywhere": (
        form(lambda s, i: s.e(i[0], i[1]), integers(0, 2, 2, 4), e=nn.EmbeddingBag(5, 3)),
        "its offsets are computed by the network",
    ),
    "an index out of range": (
        form(lambda x: torch.ops.aten.index(x, [torch.tensor([7])]), X),
        "index 7 is out of range for axis 0, which has 2",
    ),
    "a divisor of zero": (form(lambda i: i // 0, integers(0, 5, 3)), "integers by zero"),
    "a distance": (form(lambda x: torch.cdist(x, x, p=1.0), X), r"p = 1\.0"),
    "indices of pooling": (
        form(lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True), IMAGE),
        r"result 1 of aten\.adaptive_max_pool2d.* is not computed",
    ),
    "indices of the median": (form(lambda x: x.median(1).indices, X), "result 1 .* not computed"),
    "a matrix product of integers": (form(lambda i: i @ i, integers(0, 5, 3, 3)), "of int64"),
    "a Bessel function": (form(torch.special.i0, X), r"aten\.i0\.default .* no translation"),
    "an inverse": (form(lambda x: torch.linalg.inv(x @ x.mT + torch.eye(5)), X), "linalg"),
    "a running maximum": (
        form(lambda i: i.cummax(1).values, integers(0, 5, 3, 3)),
        "of int64 it cannot be imported",
    ),
    "a running maximum of many": (
        form(lambda x: x.cummax(1).values, floats(1, 5000)),
        r"compares all pairs of an axis of \(5000,\)",
    ),
    "reduced places of integers": (
        form(lambda i: i.scatter_reduce(1, i, i, "sum"), integers(0, 3, 3, 3)),
        "reduces int64",
    ),
    "a mask of two axes assigned a tensor": (
        form(lambda x, y: torch.ops.aten.index_put(x, [x > 0], y), X, floats(1, 2)),
        "boolean index",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_operator_that_cannot_be_imported_is_named_with_the_reason(name):
    value, reason = UNSUPPORTED[name]
    with pytest.raises(ModelError, match=reason) as caught:
        from_torch(value.network(), value.inputs, name="network")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnsupportedOperator) or name == "dropout that stays on"


def _counted(s, x):
    s.calls.add_(1)
    return x + 1


PROGRAMS = {
    "a buffer that counts": (
        form(_counted, X, calls=nn.Buffer(torch.zeros(1))),
        "modifies its buffer calls as it runs; return the new value as an output",
    ),
    "an input that is changed": (form(lambda x: x.add_(1), X), "modifies its input"),
    "no inputs": (form(lambda: torch.arange(3.0)), "has no inputs"),
    "an input that NumPy has not": (
        form(lambda x: x.float(), X.bfloat16()),
        r"is torch\.bfloat16; inputs can be float16, float32, float64",
    ),
    "weights in float64": (
        form(lambda s, x: s.fc(x), X.double(), fc=nn.Linear(6, 2).double()),
        r"convert the network with \.float\(\)",
    ),
    "an empty input": (form(lambda x: x + 1, X[:0]), "is empty"),
    "an output that is a number": (form(lambda x: (x + 1, 3), X), "not a tensor"),
    "a complex output": (form(torch.fft.rfft, X), r"return torch\.view_as_real"),
    "an output of nothing": (form(lambda x: (x + 1, None), X), "not a tensor"),
    "a boolean index": (form(lambda x: x[x > 0], X), "depend on its data"),
    "a boolean index by a buffer": (
        form(lambda s, x: x[:, s.m], X, m=nn.Buffer(torch.ones(5) > 0)),
        "depend on its data",
    ),
    "nonzero": (form(lambda x: torch.nonzero(x), X), "depend on its data"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_cannot_be_imported_says_why(name):
    value, reason = PROGRAMS[name]
    with pytest.raises(ModelError, match=reason) as caught:
        from_torch(value.network(), value.inputs, name="network")
    assert "\n" not in str(caught.value)
    assert "eval" not in str(caught.value)


@pytest.mark.parametrize("name", ["a boolean index", "a buffer that counts"])
def test_a_saved_program_says_the_same(name, tmp_path):
    value, reason = PROGRAMS[name]
    torch.export.save(torch.export.export(value.network(), value.inputs), tmp_path / "net.pt2")
    with pytest.raises(ModelError, match=reason):
        load_model(tmp_path / "net.pt2")


def test_batch_norm_without_statistics_is_no_training_mode(tmp_path):
    network = nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    check(network, (IMAGE,))


def test_batch_norm_in_training_mode_is_refused_with_its_layer():
    network = nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3))
    program = torch.export.export(network, (IMAGE,))
    with pytest.raises(ModelError, match=r"batch norm in layer '1' is in training mode; .*eval"):
        from_torch(program, name="network")


def test_the_names_of_inputs_do_not_clash_with_those_of_weights_and_values():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, lv, fc_weight, gv):
            return self.fc(lv) + fc_weight + gv

    check(Net().eval(), (X, X + 1, X - 1))


def test_an_empty_result_between_is_no_obstacle():
    check(Fn(lambda s, x: torch.cat([x, x[:, 5:], x], 1) + x[:, 5:].sum()).eval(), (X,))


def _arguments(name):
    packet, overload = name.removeprefix("aten.").rsplit(".", 1)
    return arguments_of(getattr(getattr(torch.ops.aten, packet), overload))


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_argument_of_an_operator_is_honoured_harmless_or_at_its_default(name):
    entry = TABLE[name]
    for argument in _arguments(name):
        stated = argument.name in entry.honoured | entry.harmless | HARMLESS
        assert stated or argument.has_default_value(), argument.name
    assert entry.harmless <= {argument.name for argument in _arguments(name)}


def test_operators_made_of_constants_exist():
    assert all(_arguments(name) for name in MADE_OF_CONSTANTS)


def test_a_refusal_is_one_of_ours_for_an_operator_of_another_library():
    @torch.library.custom_op("adaspring_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_fake(torch.empty_like)
    with pytest.raises(AdaspringError, match=re.escape("adaspring_tests.twice.default")):
        from_torch(Fn(lambda s, x: twice(x)).eval(), (X,), name="network")
