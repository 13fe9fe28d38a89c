"""Layers on 16-bit values multiply those values and sum in float32, by the board's instruction."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.tirx import PrimFunc

import adaspring
from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.lowering.lower import lower
from adaspring.backends.report.functions import functions_of
from adaspring.backends.rpc.emulator.image import default_folder, image
from adaspring.backends.schedule.contraction import contraction_shape
from adaspring.backends.schedule.default import calls_of, schedule_cpu
from adaspring.errors import BoardError
from adaspring.ir.layers import macs_count
from adaspring.ir.model import Model
from adaspring.library.loader import load
from adaspring.library.weights import map_tensors
from adaspring.passes import SixteenBit
from adaspring.reference.executor import Reference

from ...support import networks
from ...support.backends import library_of, run, run_fresh
from ...support.boards import AVX2, HOST, NEOVERSE_V1, NULL, ZEN4
from ...support.disassembly import disassembly
from ...support.float64 import assert_summed_in_float32, drawn, expected_conv2d
from ...support.models import model_of
from ...support.outputs import assert_close
from ...support.passes import data, known
from ...support.requirements import missing

pytestmark = pytest.mark.slow

# "null" has no instruction: widened, then multiplied and added as floats.
KERNELS = {"host": instruction_set(HOST), "null": instruction_set(NULL)}
TYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}


def halved(model: Model, dtype: str = "bfloat16") -> Model:
    half = SixteenBit(dtype=dtype)
    return half.apply(model, half.plan(model, data(model, 4) if half.needs_data else None))


@pytest.fixture(scope="module")
def cnn() -> Model:
    return halved(known(networks.SmallCnn))


@pytest.mark.parametrize(
    ("network", "dtype"),
    [
        (networks.SmallCnn, "bfloat16"),
        (networks.SmallCnn, "float16"),
        (networks.TinyEncoder, "bfloat16"),
    ],
)
def test_a_rounded_network_agrees_with_the_reference(network, dtype, tmp_path):
    """Within 1 %: where a sum lies between two 16-bit values, one rounding may differ."""
    model = halved(known(network), dtype)
    inputs = [array[:1] for array in data(model, 1, seed=3).inputs]
    assert any(weight.dtype == TYPES[dtype] for weight in model.weights.values())
    assert_close(run(model, HOST, tmp_path, *inputs), Reference(model).run(*inputs), 0.01)


@pytest.mark.parametrize("kernels", KERNELS)
def test_weights_stay_16_bit_in_the_library(cnn, kernels):
    packed = lower(cnn, KERNELS[kernels]).weights
    names = [name for name, weight in cnn.weights.items() if weight.dtype == TYPES["bfloat16"]]
    assert names
    assert all(packed[name].dtype == np.uint16 for name in names)


# -- single layers by hand, against float64 sums of the rounded operands --------------------------


def real(value: relax.Expr, dtype: str = "float32") -> relax.Expr:
    return relax.op.astype(value, dtype)


def short(x: relax.Expr, dtype: str) -> relax.Expr:
    return real(real(x, dtype))


EXAMPLES = settings(max_examples=10, deadline=None)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(5, 11), st.integers(5, 11)),
    groups=st.sampled_from([1, 1, 2, 3]),
    channels=st.tuples(st.integers(1, 19), st.integers(1, 35)),
    kernel=pairs,
    strides=pairs,
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dtype=st.sampled_from(sorted(TYPES)),
)
def test_a_convolution_sums_the_products_of_rounded_values(
    seed, batch, size, groups, channels, kernel, strides, padding, dilation, dtype
):
    into, out = channels
    x = drawn(seed, (batch, into * groups, *size))
    w = drawn(seed + 1, (out * groups, into, *kernel)).astype(TYPES[dtype])
    attributes = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))],
        {"layer.weight": w},
        lambda x, w: relax.op.nn.conv2d(short(x, dtype), real(w), **attributes),
    )
    found = run_fresh(model, x)
    operands = (value.astype(TYPES[dtype]).astype(np.float64) for value in (x, w))
    exact, magnitude = expected_conv2d(*operands, strides, padding, dilation, groups)
    assert_summed_in_float32(found, exact, magnitude, into * kernel[0] * kernel[1])


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 67), st.integers(1, 40)),
    transposed=st.booleans(),
    dtype=st.sampled_from(sorted(TYPES)),
)
def test_a_dense_layer_sums_the_products_of_rounded_values(seed, shape, transposed, dtype):
    rows, k, n = shape
    x, w = drawn(seed, (rows, k)), drawn(seed + 1, (k, n)).astype(TYPES[dtype])
    weight = np.ascontiguousarray(w.T) if transposed else w

    def body(x, w):
        w = real(w)
        return relax.op.matmul(short(x, dtype), relax.op.permute_dims(w) if transposed else w)

    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))], {"layer.weight": weight}, body
    )
    found = run_fresh(model, x)
    a, b = (value.astype(TYPES[dtype]).astype(np.float64) for value in (x, w))
    assert_summed_in_float32(found, a @ b, np.abs(a) @ np.abs(b), k)


IMAGE = relax.Var("x", relax.TensorType((2, 6, 7, 5), "float32"))
CASES = {
    "depthwise": ((6, 1, 3, 3), lambda x, w, t: conv(short(x, t), real(w), groups=6)),
    "weights alone": ((9, 6, 3, 3), lambda x, w, t: conv(x, real(w))),
    "activations alone": (
        (9, 6, 3, 3),
        lambda x, w, t: conv(short(x, t), relax.op.multiply(real(w), relax.const(2.0))),
    ),
    "another type": ((9, 6, 3, 3), lambda x, w, t: conv(short(x, OTHER[t]), real(w))),
    "read as it is stored and as reals": (
        (6, 6, 1, 1),
        lambda x, w, t: (lambda q: relax.op.add(conv(q, real(w)), q))(short(x, t)),
    ),
    "two layers in a row": (
        (6, 6, 3, 3),
        lambda x, w, t: conv(short(relax.op.nn.relu(conv(short(x, t), real(w))), t), real(w)),
    ),
    "a stored value as an output": (
        (6, 6, 1, 1),
        lambda x, w, t: relax.Tuple([conv(short(x, t), real(w)), real(real(x, t), "float64")]),
    ),
    "the weight itself": (
        (6, 6, 1, 1),
        lambda x, w, t: relax.Tuple([relax.op.nn.relu(x), real(w)]),
    ),
    "a dense layer of an image": ((5, 8), lambda x, w, t: relax.op.matmul(short(x, t), real(w))),
}
OTHER = {"bfloat16": "float16", "float16": "bfloat16"}


def conv(x, w, **attributes):
    return relax.op.nn.conv2d(x, w, **attributes)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_agrees_with_the_reference(case, dtype, kernels, tmp_path):
    shape, body = CASES[case]
    weights = {"layer.weight": drawn(5, shape).astype(TYPES[dtype])}
    model = model_of([IMAGE], weights, lambda x, w: body(x, w, dtype))
    x = drawn(6, (2, 6, 7, 5))
    found = run(model, HOST, tmp_path, x, isa=KERNELS[kernels])
    # The second of two layers may round one value differently.
    ratio = 1e-2 if case == "two layers in a row" else 1e-5
    assert_close(found, Reference(model).run(x), ratio)


def test_a_layer_that_is_itself_of_float16_gives_float16(tmp_path):
    weights = {"layer.weight": drawn(5, (9, 6, 3, 3)).astype(np.float16)}
    model = model_of([IMAGE], weights, lambda x, w: conv(real(x, "float16"), w))
    x = drawn(6, (2, 6, 7, 5))
    (found,) = run(model, HOST, tmp_path, x)
    assert found.dtype == np.float16
    operands = (
        value.astype(np.float16).astype(np.float64) for value in (x, weights["layer.weight"])
    )
    exact, _ = expected_conv2d(*operands, (1, 1), (0, 0, 0, 0), (1, 1), 1)
    np.testing.assert_allclose(found, exact, rtol=2**-10, atol=1e-4)


SPECIAL = np.array(
    [0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0xFF800001, 0x7F800000, 0xFF800000, 0x7F7FFFFF,
     0x80000000, 0x00007FFF, 0x00008000, 0x00018000, 0x3F808000, 0x3F818000, 0x3F808001],
    np.uint32,
).view(np.float32)  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("dtype", TYPES)
def test_rounding_is_right_for_every_kind_of_value(dtype, tmp_path):
    """NaN of any bits, infinities, what rounds to them, zeros, subnormal values, ties."""
    random = np.random.default_rng(0).integers(0, 2**32, 4096 - len(SPECIAL), np.uint32)
    x = np.concatenate([SPECIAL, random.view(np.float32)]).reshape(1, 4096)
    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))], {}, lambda x: short(x, dtype)
    )
    with np.errstate(over="ignore"):
        expected = x.astype(TYPES[dtype]).astype(np.float32)
    (found,) = run(model, HOST, tmp_path, x)
    np.testing.assert_array_equal(found, expected)


# -- what is in the library ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("board", "tool", "instruction", "present"),
    [
        (ZEN4, "objdump", "vdpbf16ps", True),
        (AVX2, "objdump", "vdpbf16ps", False),
        (NEOVERSE_V1, "aarch64-linux-gnu-objdump", "bfdot", True),
        (targets.find("raspberry-pi-5"), "aarch64-linux-gnu-objdump", "bfdot", False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.usefixtures("aarch64_linker")
def test_the_dot_product_instruction_is_used_where_the_core_has_it(
    cnn, board, tool, instruction, present, tmp_path
):
    built = build(prepare(cnn, board), None, tmp_path / "code.so")
    assert (instruction in disassembly(tool, built.code)) is present


@pytest.mark.parametrize("board", [ZEN4, NEOVERSE_V1], ids=lambda board: board.name)
def test_every_kernel_of_pairs_uses_the_instruction(cnn, board):
    """None falls back to the plain rule because its tile did not fit."""
    prepared = prepare(cnn, board)
    scheduled = schedule_cpu(prepared.module, prepared.isa, None)
    paired = [
        scheduled[var]
        for var, function in prepared.module.functions_items()
        if isinstance(function, PrimFunc)
        and (shape := contraction_shape(function, prepared.isa))
        and shape.depth == 2
    ]
    assert len(paired) >= 4
    assert all("call_pure_extern" in function.script() for function in paired)


def test_two_bytes_travel_between_layers():
    """What one convolution writes is what the next one reads."""
    shape, body = CASES["two layers in a row"]
    weights = {"layer.weight": drawn(5, shape).astype(TYPES["bfloat16"])}
    model = model_of([IMAGE], weights, lambda x, w: body(x, w, "bfloat16"))
    calls = calls_of(prepare(model, HOST).module)
    first, second = (call for call in calls if "conv2d" in call.args[0].name_hint)
    assert str(first.ty.dtype) == "uint16"
    assert [str(argument.ty.dtype) for argument in second.args[1].fields] == ["uint16"] * 2
    assert str(second.ty.dtype) == "float32"


def test_the_functions_say_what_they_multiply(cnn):
    prepared = prepare(cnn, ZEN4)
    found = functions_of(prepared.module, tuple(prepared.weights))
    multiplied = [function for function in found if function.macs_count]
    assert {function.dtype for function in multiplied} == {"bfloat16"}
    assert {function.kernel for function in multiplied} == {"direct conv bf16", "dense bf16"}
    assert sum(function.macs_count for function in found) == macs_count(cnn)


def test_a_library_maps_the_weights_as_they_are_stored(cnn, tmp_path):
    """Written, opened and run on the app's side, which knows no bfloat16."""
    folder = library_of(cnn, HOST, tmp_path / "net.lib")
    with (folder / "weights" / "shared.safetensors").open("rb") as file:
        mapped = map_tensors(file)
    stored = [array for array in mapped.values() if array.dtype == np.uint16]
    assert len(stored) == sum(w.dtype == TYPES["bfloat16"] for w in cnn.weights.values())
    assert all(array.base is not None for array in stored)
    x = data(cnn, 1, seed=3).inputs[0]
    found = load(folder).open()(x)
    assert_close([found], Reference(cnn).run(x), 0.01)


APP = """
import sys
import numpy as np
from adaspring.library.loader import load
folder, x, y = sys.argv[1:]
np.save(y, load(folder).open()(np.load(x)))
"""


@pytest.mark.board
@pytest.mark.usefixtures("aarch64_linker")
def test_on_an_emulated_arm_processor_bfdot_gives_what_the_reference_gives(cnn, tmp_path):
    try:
        board = image(default_folder())
    except BoardError as error:
        missing(f"the emulated board cannot be built: {error}")
    folder, x = library_of(cnn, NEOVERSE_V1, tmp_path / "net.lib"), data(cnn, 1, seed=3).inputs[0]
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "adaspring").symlink_to(Path(adaspring.__file__).parent)
    command = [str(board.emulator), "-cpu", "max", "-L", str(board.root), str(board.python)]
    paths = f"{board.site}{os.pathsep}{tmp_path / 'app'}"
    subprocess.run(
        [*command, "-c", APP, str(folder), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONNOUSERSITE": "1"},
        check=True,
    )
    assert_close([np.load(tmp_path / "y.npy")], Reference(cnn).run(x), 0.01)
