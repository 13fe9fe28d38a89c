"""Quantized layers compute in integers, as the fake-quantized network says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from tvm import relax
from tvm.tirx import PrimFunc

from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.lowering.lower import lower
from adaspring.backends.schedule.contraction import contraction_shape
from adaspring.backends.schedule.default import calls_of, schedule_cpu
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.passes import run as run_passes
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import Reference

from ...support import networks
from ...support.backends import run
from ...support.boards import AVX2, HOST, INT8_KERNELS, SKYLAKE, VNNI
from ...support.disassembly import disassembly
from ...support.models import model_of
from ...support.outputs import assert_close


def quantized(network: networks.Network) -> Model:
    inputs = networks.example_inputs(network)
    model = from_torch(network, inputs, name=type(network).__name__)
    random = np.random.default_rng(0)
    samples = [random.standard_normal((8, *x.shape[1:])).astype(np.float32) for x in inputs]
    data = Dataset(inputs=tuple(samples), targets=None)
    return run_passes(model, (Quantize(),), data).model


@pytest.fixture(scope="module")
def cnn() -> Model:
    return quantized(networks.SmallCnn())


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [networks.MobileNetStyle, networks.Mlp, networks.TinyEncoder, networks.TwoInputs],
    ids=lambda network: network.__name__,
)
def test_a_quantized_network_agrees_with_its_fake_quantized_self(network, tmp_path):
    """Within 2 %: where a float lies between two levels, one rounding may differ."""
    model = quantized(network())
    inputs = [x.numpy() for x in networks.example_inputs(network())]
    expected = Reference(model).run(*inputs)
    assert any(weight.dtype == np.int8 for weight in model.weights.values())
    assert_close(run(model, HOST, tmp_path, *inputs), expected, 0.02)


@pytest.mark.parametrize("kernels", INT8_KERNELS)
def test_every_kind_of_integer_kernel_agrees(cnn, kernels, tmp_path):
    inputs = [x.numpy() for x in networks.example_inputs(networks.SmallCnn())]
    found = run(cnn, HOST, tmp_path, *inputs, isa=INT8_KERNELS[kernels])
    assert_close(found, Reference(cnn).run(*inputs), 0.02)


@pytest.mark.parametrize("kernels", INT8_KERNELS)
def test_weights_stay_8_bit_in_the_library(cnn, kernels):
    packed = lower(cnn, INT8_KERNELS[kernels]).weights
    layers = [name for name, weight in cnn.weights.items() if weight.dtype == np.int8]
    assert layers
    assert all(packed[name].dtype == np.int8 for name in layers)


# -- single layers by hand: exact but for the float at either end ------------------------------

IMAGE_SHAPE, SCALE, ZERO = (2, 5, 7, 6), np.float32(0.03), 77
X = relax.Var("x", relax.TensorType(IMAGE_SHAPE, "float32"))
ROWS = relax.Var("x", relax.TensorType((3, 21), "float32"))


class PooledResidual(nn.Module):
    """A stem, max pooling, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (
            nn.Conv2d(3, 16, 3),
            nn.Conv2d(16, 16, 1),
            nn.Conv2d(16, 16, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.stem(x).relu(), 2)
        x = (x + self.one(x)).relu()
        return (x + self.two(x)).mean((2, 3))


def sample(var: relax.Var) -> np.ndarray:
    """Values on levels, some of them out of range, none between two levels."""
    shape = tuple(int(extent) for extent in var.ty.shape.values)
    return (np.random.default_rng(3).integers(-120, 260, shape) * SCALE).astype(np.float32)


def fake(x: relax.Expr, dtype: str = "uint8", zero: int = ZERO) -> relax.Expr:
    settings = relax.const(SCALE), relax.const(np.array(zero, dtype))
    return relax.op.dequantize(relax.op.quantize(x, *settings, out_dtype=dtype), *settings)


def reals(w: relax.Expr, scale: relax.Expr, axis: int, zero: int = 0) -> relax.Expr:
    return relax.op.dequantize(w, scale, relax.const(zero, "int8"), axis)


def weights(shape: tuple[int, ...], scales: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    return {
        "layer.weight": random.integers(-127, 128, shape, dtype=np.int8),
        "layer.weight_scale": random.uniform(0.001, 0.02, scales).astype(np.float32),
    }


def conv(x, w, **attributes):
    return relax.op.nn.conv2d(x, w, **attributes)


FILTERS, MATRIX = (9, 5, 3, 3), (21, 10)
UNEVEN = {"padding": (2, 0, 1, 1), "strides": (1, 2), "dilation": (2, 1)}
CASES = {
    "convolution": (X, FILTERS, 9, lambda x, w, s: conv(fake(x), reals(w, s, 0))),
    "padding is the real zero": (
        X,
        FILTERS,
        9,
        lambda x, w, s: conv(fake(x), reals(w, s, 0), **UNEVEN),
    ),
    "int8 activations": (
        X,
        FILTERS,
        9,
        lambda x, w, s: conv(fake(x, "int8", -5), reals(w, s, 0), **UNEVEN),
    ),
    "one scale for all": (X, FILTERS, 1, lambda x, w, s: conv(fake(x), reals(w, s, 0))),
    "scales of the inputs": (X, FILTERS, 5, lambda x, w, s: conv(fake(x), reals(w, s, 1))),
    "weights with a zero point": (
        X,
        FILTERS,
        9,
        lambda x, w, s: conv(fake(x), reals(w, s, 0, 3)),
    ),
    "weights alone": (X, FILTERS, 9, lambda x, w, s: conv(x, reals(w, s, 0))),
    "activations alone": (
        X,
        FILTERS,
        9,
        lambda x, w, s: conv(
            fake(x), relax.op.multiply(relax.op.astype(w, "float32"), relax.const(SCALE))
        ),
    ),
    "depthwise": (X, (5, 1, 3, 3), 5, lambda x, w, s: conv(fake(x), reals(w, s, 0), groups=5)),
    "depthwise, padded": (
        X,
        (5, 1, 3, 3),
        5,
        lambda x, w, s: conv(fake(x), reals(w, s, 0), groups=5, **UNEVEN),
    ),
    "grouped": (
        X,
        (10, 1, 3, 3),
        10,
        lambda x, w, s: conv(fake(x), reals(w, s, 0), groups=5),
    ),
    "dense (k, n)": (ROWS, MATRIX, 10, lambda x, w, s: relax.op.matmul(fake(x), reals(w, s, 1))),
    "dense (n, k)": (
        ROWS,
        (10, 21),
        10,
        lambda x, w, s: relax.op.matmul(fake(x), relax.op.permute_dims(reals(w, s, 0))),
    ),
    "dense of an image": (
        X,
        (6, 8),
        8,
        lambda x, w, s: relax.op.matmul(fake(relax.op.nn.relu(x)), reals(w, s, 1)),
    ),
    "read as integers and as reals": (
        X,
        (5, 5, 1, 1),
        5,
        lambda x, w, s: (lambda q: relax.op.add(conv(q, reals(w, s, 0)), q))(fake(x)),
    ),
    "two layers in a row": (
        X,
        (5, 5, 3, 3),
        5,
        lambda x, w, s: conv(
            fake(relax.op.nn.relu(conv(fake(x), reals(w, s, 0), padding=1))),
            reals(w, s, 0),
            padding=1,
        ),
    ),
    "the largest of the levels": (
        X,
        (5, 5, 3, 3),
        5,
        lambda x, w, s: conv(
            fake(relax.op.nn.max_pool2d(fake(x), 3, 2, 1)), reals(w, s, 0), padding=1
        ),
    ),
    "the weight itself": (
        X,
        FILTERS,
        9,
        lambda x, w, s: relax.Tuple([relax.op.nn.relu(x), reals(w, s, 0)]),
    ),
    "the weight times the input": (
        ROWS,
        MATRIX,
        10,
        lambda x, w, s: relax.op.multiply(relax.op.sum(x), relax.op.permute_dims(reals(w, s, 1))),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["host", "signed", "avx2"])
@pytest.mark.parametrize("case", CASES)
def test_a_quantized_layer_agrees_with_the_reference(case, kernels, tmp_path):
    x, shape, scales, body = CASES[case]
    model = model_of([x], weights(shape, scales), body)
    value = sample(x)
    found = run(model, HOST, tmp_path, value, isa=INT8_KERNELS[kernels])
    # The second of two layers may round one level differently, where a float lies between two.
    ratio = 1e-2 if case == "two layers in a row" else 1e-5
    assert_close(found, Reference(model).run(value), ratio)


@pytest.mark.parametrize("kernels", ["host", "signed"])
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 77), ("int8", -5)])
def test_quantized_values_that_leave_the_network_are_the_networks_own(
    dtype, zero, kernels, tmp_path
):
    """Whatever the board's kernels read."""

    def body(x, w, s):
        settings = relax.const(SCALE), relax.const(np.array(zero, dtype))
        levels = relax.op.quantize(x, *settings, out_dtype=dtype)
        return relax.Tuple([levels, conv(relax.op.dequantize(levels, *settings), reals(w, s, 0))])

    model = model_of([X], weights(FILTERS, 9), body)
    value = sample(X)
    info = np.iinfo(dtype)
    expected = np.clip(np.rint(value / SCALE) + zero, info.min, info.max).astype(dtype)
    levels, _ = run(model, HOST, tmp_path, value, isa=INT8_KERNELS[kernels])
    assert levels.dtype == expected.dtype
    np.testing.assert_array_equal(levels, expected)


def test_between_the_convolutions_of_a_residual_network_nothing_is_kept_in_floats():
    """Every image that is written has a byte a value: pooling's and the residual adds' too."""
    torch.manual_seed(0)
    model = from_torch(PooledResidual().eval(), (torch.zeros(1, 3, 16, 16),), name="residual")
    x = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    small = run_passes(model, (Quantize(),), Dataset(inputs=(x,), targets=None)).model
    images = [c.ty for c in calls_of(prepare(small, HOST).module) if len(c.ty.shape.values) == 4]
    written = [str(ty.dtype) for ty in images if int(ty.shape.values[1]) > 1]
    # The last convolution's sums are not quantized: their mean is.
    assert written[:-1] == ["uint8"] * 4
    assert written[-1] == "float32"


# -- the instructions that are in the library --------------------------------------------------


@pytest.mark.parametrize(
    ("board", "tool", "instruction", "present"),
    [
        (targets.find("raspberry-pi-5"), "aarch64-linux-gnu-objdump", "sdot", True),
        (targets.find("raspberry-pi-4"), "aarch64-linux-gnu-objdump", "sdot", False),
        (VNNI, "objdump", "vpdpbusd", True),
        (AVX2, "objdump", "vpdpbusd", False),
        (AVX2, "objdump", "vpmaddwd", True),
        (SKYLAKE, "objdump", "vpmaddwd", True),
    ],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.usefixtures("aarch64_linker")
def test_the_dot_product_instruction_is_used_where_the_core_has_it(
    cnn, board, tool, instruction, present, tmp_path
):
    built = build(prepare(cnn, board), None, tmp_path / "code.so")
    assert (instruction in disassembly(tool, built.code)) is present


@pytest.mark.parametrize(
    "board", [HOST, VNNI, AVX2, SKYLAKE, targets.find("raspberry-pi-5")], ids=lambda b: b.name
)
def test_every_integer_kernel_uses_the_instruction(cnn, board):
    """None falls back to the plain rule because its tile did not fit."""
    prepared = prepare(cnn, board)
    if prepared.isa.int8.intrinsic is None:
        pytest.skip("this machine has no 8-bit dot product")
    scheduled = schedule_cpu(prepared.module, prepared.isa, None)
    integer = [
        scheduled[var]
        for var, function in prepared.module.functions_items()
        if isinstance(function, PrimFunc)
        and (shape := contraction_shape(function, prepared.isa))
        and shape.depth > 1
    ]
    assert len(integer) >= 4
    assert all("call_llvm_pure_intrin" in function.script() for function in integer)


@pytest.mark.usefixtures("aarch64_linker")
def test_a_quantized_network_is_built_for_a_gpu(cnn, tmp_path):
    built = build(prepare(cnn, targets.find("rock-5b-mali")), None, tmp_path / "code.so")
    assert b"__kernel void" in built.code.read_bytes()


def test_equal_layers_are_one_function_whatever_their_scales():
    """So what was tuned for one of them serves all, in every network and calibration."""
    torch.manual_seed(0)
    layers = [module for _ in range(4) for module in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    model = from_torch(nn.Sequential(*layers).eval(), (torch.zeros(1, 16, 8, 8),), name="chain")
    x = np.random.default_rng(0).standard_normal((8, 16, 8, 8)).astype(np.float32)
    small = run_passes(model, (Quantize(),), Dataset(inputs=(x,), targets=None)).model
    called = [
        call.args[0].name_hint
        for call in calls_of(prepare(small, HOST).module)
        if "conv2d" in call.args[0].name_hint
    ]
    assert len(called) == 4
    # The first reads signed values, so it pads by another level than it writes; the last is real.
    assert called[1] == called[2]
