"""What the IR must be is checked: a model broken by hand is refused, and the place is named."""

import numpy as np
import pytest
import torch
from torch import nn
from tvm import IRModule, relax

from adaspring.errors import BrokenModel, PassError
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.ir.layers import layers
from adaspring.ir.model import TensorSpec
from adaspring.ir.rewrite import rebuild
from adaspring.ir.verify import verify
from adaspring.passes import (
    DropBlocks,
    DynamicQuantize,
    Equalize,
    Factorize,
    Prune,
    Quantize,
    SixteenBit,
    Smooth,
    WeightOnly,
    run,
)
from adaspring.passes.factorize.forms.separated import Fire, Spatial

from ..support.models import model_of
from ..support.networks import ALL, Mlp, SmallCnn, SmallResNet, TinyEncoder, TwoInputs
from ..support.passes import Small, data, imported, known
from ..support.quantized_networks import quantized_by_onnx_runtime

PASSES = (
    Prune(keep_ratio=0.75),
    Factorize(max_error_ratio=0.3),
    Factorize(max_error_ratio=0.6, forms=(Spatial(), Fire())),
    Equalize(),
    Smooth(),
    Quantize(),
    Quantize(rounding="gptq"),
    DynamicQuantize(),
    SixteenBit(),
    SixteenBit(dtype="float16"),
    WeightOnly(),
    WeightOnly(bits=4),
    WeightOnly(bits=4, group_size=8),
    WeightOnly(bits=8, group_size=8),
)


@pytest.mark.slow
@pytest.mark.parametrize("settings", PASSES, ids=repr)
@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_every_network_holds_after_import_and_after_each_pass(network, settings):
    model = known(network)
    verify(model)
    verify(run(model, (settings,), data(model, 8)).model)


@pytest.mark.parametrize("network", [SmallResNet, TinyEncoder], ids=lambda n: n.__name__)
def test_a_network_without_some_blocks_holds(network):
    verify(run(known(network), (DropBlocks(count=1),), data(known(network), 8)).model)


@pytest.mark.parametrize("activations", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("network", [SmallCnn, SmallResNet, Mlp], ids=lambda n: n.__name__)
def test_a_network_that_comes_quantized_holds(network, activations, tmp_path):
    verify(from_onnx(quantized_by_onnx_runtime(tmp_path, network, activations)))


def test_a_shared_weight_holds():
    def forward(self, x):
        return self.fc(torch.relu(self.fc(x)))

    model = imported(Small(forward, fc=nn.Linear(4, 4)), (1, 4))
    verify(run(model, (Quantize(),), data(model, 8)).model)


IMAGE = relax.Var("x", relax.TensorType((1, 3, 8, 8), "float32"))
ROWS = relax.Var("x", relax.TensorType((2, 5), "float32"))


def refused(model, match):
    with pytest.raises(BrokenModel, match=match):
        verify(model)


def changed(model, number, make):
    """The model, the value of its binding of that number made anew."""
    body = model.function.body
    bindings = list(body.blocks[0].bindings)
    bindings[number] = relax.VarBinding(bindings[number].var, make(bindings[number].value))
    return with_blocks(model, [relax.DataflowBlock(bindings)])


def with_blocks(model, blocks, params=None):
    old = model.function
    function = relax.Function(
        list(old.params) if params is None else params,
        relax.SeqExpr(blocks, old.body.body),
        old.ret_ty,
        attrs=old.attrs,
    )
    return model.evolved(IRModule({"main": function}), model.weights)


def with_weight(model, name, array):
    """The model with another array for a weight, and the parameter to match."""
    return rebuild(model, {**model.weights, name: array}, lambda body, var, value: body.of(value))


def with_array(model, name, array):
    """The model with another array for a weight, the parameter as it was."""
    return model.evolved(model.module, {**model.weights, name: array})


def name_at(model, number):
    return model.function.body.blocks[0].bindings[number].var.name


def number_of(model, op):
    found = (b.value for b in model.function.body.blocks[0].bindings)
    return next(i for i, v in enumerate(found) if isinstance(v, relax.Call) and v.op.name == op)


def test_a_second_function_is_refused():
    model = known(SmallCnn)
    module = IRModule({"main": model.function, "other": model.function})
    refused(
        model.evolved(module, model.weights),
        r"SmallCnn: the module holds main, other; it must hold main alone",
    )


def test_an_input_declared_otherwise_is_refused():
    model = known(TwoInputs)
    swapped = type(model)(
        name=model.name,
        module=model.module,
        weights=model.weights,
        inputs=model.inputs[::-1],
        outputs=model.outputs,
    )
    refused(swapped, r"input \S+ is float32 \(1, 3, 16, 16\) in main, but declared .*\(1, 8\)")


def test_an_output_declared_otherwise_is_refused():
    model = known(Mlp)
    outputs = (TensorSpec(name="y", shape=(1, 11), dtype="float32"),)
    wrong = type(model)(
        name=model.name,
        module=model.module,
        weights=model.weights,
        inputs=model.inputs,
        outputs=outputs,
    )
    refused(wrong, r"output y is float32 \(1, 10\) in main, but declared float32 \(1, 11\)")


def test_weights_in_another_order_are_refused():
    model = known(SmallCnn)
    weights = dict(reversed(model.weights.items()))
    refused(model.evolved(model.module, weights), r"weight fc2\S+ is float32 .* in main, but")


def test_a_weights_array_of_another_shape_or_type_is_refused():
    model = known(Mlp)
    fc1 = model.weights["fc1.weight"]
    refused(
        with_array(model, "fc1.weight", fc1[:7]), r"weight fc1\.weight .* declared float32 \(7, 64"
    )
    refused(
        with_array(model, "fc1.weight", fc1.astype(np.float64)), r"fc1\.weight .* declared float64"
    )


def test_a_second_block_is_refused():
    model = known(Mlp)
    (block,) = model.function.body.blocks
    again = relax.BindingBlock(
        [relax.VarBinding(relax.Var("z", var.ty), var) for var in model.function.params[:1]]
    )
    refused(with_blocks(model, [again, block]), r"has 2 blocks; it must have one dataflow block")


def test_a_value_computed_in_place_is_refused():
    model = known(Mlp)
    at = number_of(model, "relax.nn.relu")
    broken = changed(model, at, lambda value: relax.op.nn.relu(relax.op.nn.relu(value.args[0])))
    refused(broken, rf"{name_at(model, at)} computes a Call in place; bind it to a variable")


def test_a_value_bound_twice_is_refused():
    model = known(Mlp)
    bindings = list(model.function.body.blocks[0].bindings)
    twin = relax.DataflowVar(bindings[1].var.name, bindings[0].var.ty)
    broken = with_blocks(
        model, [relax.DataflowBlock([relax.VarBinding(twin, bindings[0].value), *bindings])]
    )
    refused(broken, rf"{twin.name} is bound twice")


def test_what_is_no_high_level_operator_is_refused():
    model = known(Mlp)
    at = number_of(model, "relax.nn.relu")

    def packed(value):
        return relax.call_dps_packed("relu", [value.args[0]], out_ty=value.ty)

    refused(
        changed(model, at, packed),
        rf"{name_at(model, at)} calls relax\.call_dps_packed, which is no high-level operator",
    )


def test_a_shape_that_is_not_fixed_is_refused():
    model = known(Mlp)
    bindings = list(model.function.body.blocks[0].bindings)
    loose = relax.DataflowVar("loose", relax.TensorType(dtype="float32", ndim=2))
    bindings.append(relax.VarBinding(loose, bindings[0].var))
    refused(with_blocks(model, [relax.DataflowBlock(bindings)]), r"loose has the shape")


def test_a_batch_norm_is_refused():
    def body(x, gamma, beta, mean, variance):
        return relax.op.nn.batch_norm(x, gamma, beta, mean, variance, axis=1, training=False)

    weights = {name: np.ones(3, np.float32) for name in ("g", "b", "m", "v")}
    model = model_of([IMAGE], weights, lambda *given: relax.TupleGetItem(body(*given), 0))
    refused(model, r"lv\d* is a batch norm; it must be folded, or be multiply and add")


def test_another_layout_is_refused():
    weight = {"w": np.ones((4, 8, 3, 3), np.float32)}
    layouts = {"data_layout": "NHWC", "kernel_layout": "OIHW"}
    model = model_of([IMAGE], weight, lambda x, w: relax.op.nn.conv2d(x, w, **layouts))
    refused(model, r"gv has data_layout NHWC; it must be NCHW")


def test_a_value_read_before_it_is_bound_is_refused():
    model = known(Mlp)
    bindings = list(model.function.body.blocks[0].bindings)
    bindings[0], bindings[1] = bindings[1], bindings[0]
    refused(with_blocks(model, [relax.DataflowBlock(bindings)]), r"main is not well formed: \S+")


def test_a_weight_that_nothing_reads_is_refused():
    model = with_weight(known(Mlp), "left.over", np.ones(3, np.float32))
    refused(model, r"left\.over is a weight that nothing reads")


def test_a_bias_of_another_length_is_refused():
    weights = {"fc.weight": np.ones((5, 7), np.float32), "fc.bias": np.ones(1, np.float32)}
    model = model_of([ROWS], weights, lambda x, w, b: relax.op.add(relax.op.matmul(x, w), b))
    refused(model, r"fc\.bias is the bias of fc: float32 \(1\), not float32 \(7\)")


def quantized(**given):
    """A dense layer that reads its int8 weight as these settings say."""
    settings = {"scale": "fc.weight_scale", "scales": 7, "zero": 0, "x": lambda x: x} | given
    weights = {
        "fc.weight": np.ones((5, 7), np.int8),
        settings["scale"]: np.ones(settings["scales"], np.float32),
    }

    def body(x, w, scale):
        zero = relax.const(settings["zero"], "int8")
        read = relax.op.dequantize(w, scale, zero, axis=given.get("axis", 1))
        return relax.op.matmul(settings["x"](x), read)

    return model_of([ROWS], weights, body)


def test_an_int8_weight_with_a_scale_a_channel_holds():
    verify(quantized())
    verify(quantized(axis=0, scales=5))


def test_scales_of_another_name_are_refused():
    refused(quantized(scale="s"), r"fc\.weight has its scales in s, not in fc\.weight_scale")


def test_a_weight_with_a_zero_point_is_refused():
    refused(quantized(zero=3), r"fc\.weight is dequantized by a zero point other than 0")


def test_scales_of_another_length_are_refused():
    model = quantized(scales=1)
    refused(model, r"lv\d* has 1 scales along an axis of 7")


def test_an_integer_weight_that_no_layer_reads_is_refused():
    weights = {"table": np.ones((5,), np.int8)}
    model = model_of([ROWS], weights, lambda x, w: relax.op.add(x, relax.op.astype(w, "float32")))
    refused(model, r"table is int8, but is not read as a layer's weight in a form of")


def fake(scale, zero_point, dtype="uint8"):
    given = relax.const(scale, "float32"), relax.const(zero_point, dtype)
    return lambda x: relax.op.dequantize(relax.op.quantize(x, *given, out_dtype=dtype), *given)


def test_a_quantized_activation_holds():
    verify(quantized(x=fake(0.5, 128)))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_not_above_zero_is_refused(scale):
    refused(quantized(x=fake(scale, 0)), r"lv\d* has a scale that is not finite and above zero")


def test_activations_of_other_types_are_refused():
    refused(quantized(x=fake(0.5, 0, "int16")), r"lv\d* quantizes to int16; it must be int8 or")


def test_sixteen_bits_that_are_not_multiplied_by_sixteen_bits_are_refused():
    model = run(known(Mlp), (SixteenBit(),), None).model
    verify(model)
    first, *_ = layers(model)
    source = model.function.params[0]

    def plain(body, var, value):
        if var != first.call:
            return body.of(value)
        return relax.op.matmul(body.of(source), body.of(value.args[1]))

    broken = rebuild(model, model.weights, plain)
    refused(broken, r"lv\d* reads fc1\.weight in bfloat16, but not its input")


def test_rows_that_do_not_hold_the_layers_weight_are_refused():
    settings = WeightOnly(bits=4, group_size=16)
    model = run(known(Mlp), (settings,), None).model
    scale = model.weights["fc1.weight_scale"]
    with pytest.raises(BrokenModel, match=r"weight fc1\.weight_scale is float32"):
        verify(with_array(model, "fc1.weight_scale", scale[:-1]))


def test_a_pass_that_breaks_the_model_is_named():
    class Breaks(Equalize):
        def plan(self, model, calibration):
            return ()

        def apply(self, model, decisions):
            return with_weight(model, "left.over", np.ones(3, np.float32))

    with pytest.raises(PassError, match=r"Breaks\(\) .*left\.over is a weight that nothing reads"):
        run(known(Mlp), (Breaks(),), None)
