"""Convolutions over one and three axes, and transposed ones, run on the packed kernels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from tvm import relax

from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.lowering.geometry import spare_columns
from adaspring.backends.lowering.lower import lower
from adaspring.backends.schedule.default import calls_of
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import DynamicQuantize, Prune, Quantize, SixteenBit, WeightOnly, run
from adaspring.reference.executor import Reference

from ...support.backends import run as computed
from ...support.boards import HOST, INT8_KERNELS
from ...support.convolution_networks import NETWORKS, convolution_network
from ...support.models import model_of as model_of_call
from ...support.outputs import assert_close
from ...support.passes import Small, data, imported

pytestmark = pytest.mark.slow

RECIPES = {
    "float": (),
    "pruned-half": (Prune(keep_ratio=0.5),),
    "int8": (Quantize(),),
    "bf16": (SixteenBit(dtype="bfloat16"),),
}


@cache
def model_of(name):
    network = convolution_network(name)
    return from_torch(network, (torch.zeros(network.shape),), name=name)


def compressed(model, passes):
    return run(model, passes, data(model, 16 * model.batch)).model if passes else model


def values(*shape) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_torch_computes(name, recipe, tmp_path):
    network, model = convolution_network(name), compressed(model_of(name), RECIPES[recipe])
    x = values(*network.shape)
    if recipe == "float":
        with torch.no_grad():
            wanted = [network(torch.from_numpy(x)).numpy()]
    else:
        wanted = Reference(model).run(x)
    rounds = recipe in ("int8", "bf16")  # where the last bit differs, one may round the other way
    assert_close(computed(model, HOST, tmp_path, x), wanted, 1e-2 if rounds else 1e-4)


@pytest.mark.parametrize(
    ("name", "kernels"), [("Keyword", "signed"), ("Video", "avx2"), ("Vocoder", "null")]
)
def test_int8_is_right_however_a_processor_multiplies_it(name, kernels, tmp_path):
    model = compressed(model_of(name), RECIPES["int8"])
    x = values(*NETWORKS[name].shape)
    found = computed(model, HOST, tmp_path, x, isa=INT8_KERNELS[kernels])
    assert_close(found, Reference(model).run(x), 1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Unet", WeightOnly(bits=8)),
        ("Tcn", WeightOnly(bits=4, group_size=32)),
        ("Vocoder", DynamicQuantize()),
    ],
    ids=["int8-weights", "int4-weights", "int8-dynamic"],
)
def test_low_bit_weights_and_scales_of_every_run_are_right(name, settings, tmp_path):
    model = compressed(model_of(name), (settings,))
    x = values(*NETWORKS[name].shape)
    assert_close(computed(model, HOST, tmp_path, x), Reference(model).run(x), 1e-4)


def moves(name) -> list[int]:
    """How many axes has each activation that the lowered network transposes."""
    module = lower(model_of(name), instruction_set(HOST)).module
    calls = [b.value for block in module["main"].body.blocks for b in block.bindings]
    return [
        len(call.args[0].ty.shape)
        for call in calls
        if isinstance(call, relax.Call) and call.op.name == "relax.permute_dims"
    ]


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("Wave", []),  # one channel in, and what reads the last convolution wants channels last
        ("Keyword", [3]),
        ("Sensor", [3]),
        ("Tcn", [3, 3]),  # the signal, and the last step
        ("Separator", []),
        ("Gated", [3, 3, 3]),  # the signal, as it is and padded, and the output
        ("Video", [5]),
        ("Unet", [4, 4]),
        ("Generator", [4]),
        ("Vocoder", [3]),
    ],
)
def test_between_the_first_layer_and_the_last_nothing_is_transposed(name, ranks):
    assert sorted(moves(name)) == ranks


def test_a_bias_an_activation_and_a_residual_run_in_the_kernel_before_them():
    names = [
        str(call.args[0].name_hint) for call in calls_of(prepare(model_of("Sensor"), HOST).module)
    ]
    assert sum("conv2d" in name for name in names) == 6
    assert all(
        "relu" in name or "skip" in name or "add" in name for name in names if "conv" in name
    )


KINDS = (
    *(nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d),
    *(nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d),
)


def geometry(seed: int):
    """A random convolution, and a shape that fits it."""
    random = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    rank, spreads = int(kind.__name__[-2]), "Transpose" in kind.__name__

    def each(low: int, high: int) -> list[int]:
        return [int(value) for value in random.integers(low, high, rank)]

    kernel, stride, dilation = each(1, 6 - rank), each(1, 4), each(1, 3)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = [int(random.integers(0, r + 2)) for r in reach] if spreads else each(0, 3)
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    if spreads:
        settings["output_padding"] = [int(random.integers(0, s)) for s in stride]
    groups = int(random.choice([1, 1, 2, 4]))
    part = kind(4, 4 * int(random.integers(1, 4)), kernel, groups=groups, **settings)
    first = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1](4, 4, 1)
    network = Small(lambda s, x: torch.relu(s.b(s.a(x))), a=first, b=part)
    return network, (2, 4, *(r + 3 + more for r, more in zip(reach, each(0, 4), strict=True)))


@pytest.mark.parametrize("seed", range(18))
def test_strides_padding_dilation_and_groups_are_what_torch_takes_them_for(seed, tmp_path):
    network, shape = geometry(seed)
    x = values(*shape)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    assert_close(computed(imported(network, shape), HOST, tmp_path, x), [wanted], 1e-4)


@pytest.mark.parametrize(
    ("width", "more"), [(400, 0), (397, 3), (31, 1), (11, 0), (26, 2), (14, 0), (799, 1)]
)
def test_a_line_that_no_tile_divides_is_computed_a_little_longer(width, more):
    assert spare_columns(width) == more


def test_what_is_computed_beyond_a_line_is_cut_off(tmp_path):
    parts = {"a": nn.Conv1d(3, 8, 3, 2), "b": nn.Conv1d(8, 8, 5, padding=2, groups=8)}
    network = Small(lambda s, x: s.b(torch.relu(s.a(x))).mean(-1), **parts)
    x = values(2, 3, 63)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    model = imported(network, x.shape)
    assert_close(computed(model, HOST, tmp_path, x), [wanted], 1e-4)
    integer = compressed(model, RECIPES["int8"])
    (tmp_path / "int8").mkdir()
    found = computed(integer, HOST, tmp_path / "int8", x)
    assert_close(found, Reference(integer).run(x), 1e-4)


GROWS = {
    "line": (nn.Conv1d(4, 4, 1), nn.ConvTranspose1d(4, 96, 5, 2, 2, 1), (2, 4, 2200)),
    "image": (nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 24, 3, 2, 1, 1), (1, 4, 48, 47)),
    "volume": (nn.Conv3d(4, 4, 1), nn.ConvTranspose3d(4, 24, 3, 2, 1), (1, 4, 9, 10, 11)),
}


@pytest.mark.parametrize("name", GROWS)
def test_phases_of_fewer_taps_are_convolutions_apart_where_zeros_would_cost_more(name, tmp_path):
    first, part, shape = GROWS[name]
    network = Small(lambda s, x: torch.relu(s.b(s.a(x))), a=first, b=part)
    model, x = imported(network, shape), values(*shape)
    names = [str(call.args[0].name_hint) for call in calls_of(prepare(model, HOST).module)]
    assert sum("conv2d" in each for each in names) == 1 + 2 ** (len(shape) - 2)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    assert_close(computed(model, HOST, tmp_path, x), [wanted], 1e-4)


@pytest.mark.parametrize(
    ("name", "board"),
    [("Keyword", "raspberry-pi-5"), ("Video", "raspberry-pi-4"), ("Vocoder", "rock-5b-mali")],
)
@pytest.mark.usefixtures("aarch64_linker")
def test_other_boards_get_code_too(name, board, tmp_path):
    built = build(prepare(model_of(name), targets.find(board)), None, tmp_path / "code.so")
    assert built.code.read_bytes()[18:20] == b"\xb7\x00"  # ELF: AArch64


def test_what_multiplies_two_activations_is_left_to_tvm(tmp_path):
    shapes = {"x": (1, 4, 9), "w": (5, 4, 3)}
    given = [relax.Var(name, relax.TensorType(s, "float32")) for name, s in shapes.items()]
    model = model_of_call(given, {}, relax.op.nn.conv1d)
    x, weight = values(1, 4, 9), values(5, 4, 3)
    wanted = torch.nn.functional.conv1d(torch.from_numpy(x), torch.from_numpy(weight)).numpy()
    assert_close(computed(model, HOST, tmp_path, x, weight), [wanted], 1e-4)
