"""Networks lowered and built compute what torch computes, channels last, and change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import tvm_ffi
from torch import nn
from tvm import relax

from adaspring import targets
from adaspring.backends import build as build_module
from adaspring.backends.build import build, prepare
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.lowering.lower import lower
from adaspring.backends.lowering.walk import shape_of
from adaspring.backends.schedule.default import calls_of
from adaspring.errors import BuildError
from adaspring.frontend.from_torch.importer import from_torch

from ...support import networks, odd_layers, odd_layouts
from ...support.backends import run
from ...support.models import model_of
from ...support.networks import example_inputs
from ...support.outputs import assert_close

pytestmark = pytest.mark.slow

HOST, NULL = targets.host(), targets.null()
ODD = (*odd_layers.NETWORKS, *odd_layouts.NETWORKS)


def imported(network):
    return from_torch(network, example_inputs(network), name=type(network).__name__)


def computed(network) -> list[np.ndarray]:
    with torch.no_grad():
        outputs = network(*example_inputs(network))
    return [
        output.detach().numpy()
        for output in (outputs if isinstance(outputs, tuple) else (outputs,))
    ]


def check(network, board, folder) -> None:
    inputs = [x.numpy() for x in example_inputs(network)]
    assert_close(run(imported(network), board, folder, *inputs), computed(network), 1e-4)


@pytest.mark.parametrize("board", [HOST, NULL], ids=["host", "null"])
@pytest.mark.parametrize("network", networks.ALL, ids=lambda network: network.__name__)
def test_a_network_computes_what_torch_computes(network, board, tmp_path):
    check(network(), board, tmp_path)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # torch, an even kernel
@pytest.mark.parametrize("network", ODD, ids=lambda network: network.__name__)
def test_an_odd_network_computes_what_torch_computes(network, tmp_path):
    check(network(), HOST, tmp_path)


def transposes(network) -> int:
    """Transposes of images, in the lowered network."""
    module = lower(imported(network), instruction_set(HOST)).module
    found = [
        binding.value
        for block in module["main"].body.blocks
        for binding in block.bindings
        if isinstance(binding.value, relax.Call)
        and binding.value.op.name == "relax.permute_dims"
        and len(shape_of(binding.value)) == 4
    ]
    return len(found)


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (networks.SmallCnn, 2),  # the image in, and before flattening
        (networks.SmallResNet, 1),
        (networks.MobileNetStyle, 1),
        (networks.TwoInputs, 1),
    ],
)
def test_no_transposes_stand_between_neighbouring_convolutions(network, count):
    assert transposes(network()) == count


@pytest.mark.parametrize("name", ["SqueezeExcite", "Activations", "Clamped", "WidthBias", "Pools"])
def test_what_stands_between_convolutions_keeps_channels_last(name):
    """The image in and the image out are all that is transposed."""
    (network,) = (odd for odd in ODD if odd.__name__ == name)
    assert transposes(network()) == 2


@pytest.mark.parametrize("board", [HOST, targets.find("rock-5b-mali")], ids=["host", "mali"])
@pytest.mark.usefixtures("aarch64_linker")
def test_the_model_is_left_as_it_is(board, tmp_path):
    model = imported(networks.SmallResNet())
    digest, names = tvm_ffi.structural_hash(model.module), list(model.weights)
    copies = {name: weight.copy() for name, weight in model.weights.items()}
    prepared = prepare(model, board)
    lowered = tvm_ffi.structural_hash(prepared.module)
    build(prepared, None, tmp_path / "code.so")
    assert tvm_ffi.structural_hash(model.module) == digest
    assert tvm_ffi.structural_hash(prepared.module) == lowered
    assert list(model.weights) == names
    assert all(np.array_equal(model.weights[name], copies[name]) for name in names)


def test_a_weight_that_two_layers_share_is_stored_once():
    (network,) = (odd for odd in ODD if odd.__name__ == "SharedConvolution")
    model = imported(network())
    stored = lower(model, instruction_set(HOST)).weights
    assert sum(array.ndim == 6 for array in stored.values()) == 1


X = relax.Var("x", relax.TensorType((1, 4, 5, 6), "float32"))
IMAGE = np.random.default_rng(1).standard_normal((1, 4, 5, 6)).astype(np.float32)
FILTERS = np.random.default_rng(2).standard_normal((7, 4, 3, 3)).astype(np.float32)


def test_operators_on_bare_constants_are_computed(tmp_path):
    constant = relax.const(IMAGE)
    outputs = lambda x: [  # noqa: E731
        relax.op.add(relax.op.nn.relu(constant), x),
        relax.op.nn.max_pool2d(constant, (2, 2)),
        relax.op.concat([constant, x], axis=1),
        relax.op.subtract(relax.const(np.float32(2)), x),
        relax.op.mean(constant, axis=[2, 3]),
    ]
    model = model_of([X], {}, lambda x: relax.Tuple(outputs(x)))
    pooled = torch.nn.functional.max_pool2d(torch.from_numpy(IMAGE), 2, 1).numpy()
    expected = [
        np.maximum(IMAGE, 0) + IMAGE,
        pooled,
        np.concatenate([IMAGE, IMAGE], 1),
        2 - IMAGE,
        IMAGE.mean((2, 3)),
    ]
    assert_close(run(model, HOST, tmp_path, IMAGE), expected, 1e-5)


def test_a_convolution_of_a_constant_is_computed(tmp_path):
    conv = lambda x, w: relax.op.add(  # noqa: E731
        relax.op.nn.conv2d(relax.const(IMAGE), w, padding=1), relax.op.nn.conv2d(x, w, padding=1)
    )
    model = model_of([X], {"conv.weight": FILTERS}, conv)
    once = torch.nn.functional.conv2d(torch.from_numpy(IMAGE), torch.from_numpy(FILTERS), padding=1)
    assert_close(run(model, HOST, tmp_path, IMAGE), [2 * once.numpy()], 1e-5)


def test_a_convolution_by_an_input_is_computed(tmp_path):
    w = relax.Var("w", relax.TensorType(FILTERS.shape, "float32"))
    model = model_of([X, w], {}, lambda x, w: relax.op.nn.relu(relax.op.nn.conv2d(x, w)))
    expected = torch.nn.functional.conv2d(torch.from_numpy(IMAGE), torch.from_numpy(FILTERS))
    assert_close(run(model, HOST, tmp_path, IMAGE, FILTERS), [expected.relu().numpy()], 1e-5)


@pytest.mark.parametrize("name", ["Grouped", "WiderBias", "Reductions", "CumulativeSum"])
@pytest.mark.usefixtures("aarch64_linker")
def test_what_one_gpu_rule_cannot_schedule_gets_a_plainer_one(name, tmp_path):
    (network,) = (odd for odd in ODD if odd.__name__ == name)
    built = build(
        prepare(imported(network()), targets.find("rock-5b-mali")), None, tmp_path / "code.so"
    )
    assert b"__kernel void" in built.code.read_bytes()


def test_a_failure_of_the_compiler_is_one_line(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("many\nlines\nthe reason")

    prepared = prepare(model_of([X], {}, relax.op.nn.relu), NULL)
    monkeypatch.setattr(build_module.relax, "build", fail)
    with pytest.raises(BuildError, match=r"^could not compile for null: the reason$"):
        build(prepared, None, tmp_path / "code.so")


def test_a_missing_linker_names_its_package(monkeypatch, tmp_path):
    board = targets.find("raspberry-pi-5")
    prepared = prepare(model_of([X], {}, relax.op.nn.relu), board)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="install Debian's binutils-aarch64-linux-gnu, or lld"):
        build(prepared, None, tmp_path / "code.so")


class Gated(nn.Module):
    """Each channel times a number between 0 and 1 (squeeze and excitation)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(16, 16, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))


def test_a_gate_is_computed_once_a_channel_and_not_once_a_pixel():
    network = Gated().eval()
    model = from_torch(network, (torch.zeros(1, 16, 9, 9),), name="gated")
    names = [str(call.args[0].name_hint) for call in calls_of(prepare(model, HOST).module)]
    assert any("sigmoid" in name for name in names)
    assert not any("sigmoid" in name and "multiply" in name for name in names)


def test_groups_stay_groups_on_a_gpu():
    """There all channels are one block, so merged groups would be one dense convolution."""
    network = nn.Conv2d(16, 32, 3, groups=4).eval()
    model = from_torch(network, (torch.zeros(1, 16, 8, 8),), name="grouped")
    lowered = lower(model, instruction_set(targets.find("h200")))
    assert lowered.weights["weight"].shape == (32, 4, 3, 3)
