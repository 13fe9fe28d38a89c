"""All kernels of a network are called by one function, or each by the virtual machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tvm
from torch import nn
from tvm import relax

from adaspring.backends.build import prepare, schedule
from adaspring.backends.schedule.one_call import call_at_once
from adaspring.ir.model import Model
from adaspring.library.executable import BY_CALLS
from adaspring.passes import Quantize, run

from ...support.backends import arrays, machine_of, planned
from ...support.boards import HOST
from ...support.networks import SmallCnn, TinyEncoder, TwoInputs
from ...support.passes import Small, data, imported, known
from ...support.uncommon_networks import uncommon

# A split, an output within another's memory, constants among the arguments, several outputs.
UNCOMMON = ("one_head_four_axes", "outputs_within", "recurrent", "unlike_inputs", "no_batch")


def small(name: str) -> Model:
    if name == "int8":
        dense = known(SmallCnn)
        return run(dense, (Quantize(),), data(dense)).model
    kinds = {kind.__name__: kind for kind in (SmallCnn, TinyEncoder, TwoInputs)}
    return known(kinds[name]) if name in kinds else uncommon(name)


def ready(model: Model, folder) -> tuple[relax.VirtualMachine, list]:
    """The machine of a built network, and its arguments: samples, then the weights."""
    machine, weights = machine_of(prepare(model, HOST), folder)
    random = np.random.default_rng(0)
    inputs = [random.normal(size=each.shape).astype(each.dtype) for each in model.inputs]
    return machine, [*map(tvm.runtime.tensor, inputs), weights]


def called(machine: relax.VirtualMachine, function: str, arguments: Sequence) -> list[str]:
    """What a function calls that is not the virtual machine's own."""
    names: list[str] = []

    def note(_, name: str, before: bool, *__) -> int:
        if before and not name.startswith("vm."):
            names.append(name)
        return 0

    machine.set_instrument(note)
    machine[function](*arguments)
    return names


@pytest.mark.parametrize("name", ["SmallCnn", "TinyEncoder", "TwoInputs", "int8", *UNCOMMON])
def test_a_network_computes_the_same_by_one_call_as_by_many(name, tmp_path):
    machine, arguments = ready(small(name), tmp_path)
    by_one, by_many = (arrays(machine[f](*arguments)) for f in ("main", BY_CALLS))
    assert len(by_one) == len(by_many)
    for found, wanted in zip(by_one, by_many, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert called(machine, "main", arguments) == ["run"]
    assert len(called(machine, BY_CALLS, arguments)) > 1


def test_outputs_of_one_call_are_not_changed_by_the_next(tmp_path):
    machine, arguments = ready(known(SmallCnn), tmp_path)
    (first,) = arrays(machine["main"](*arguments))
    kept, before = machine["main"](*arguments), first.copy()
    machine["main"](tvm.runtime.tensor(2 * arguments[0].numpy()), arguments[-1])
    np.testing.assert_array_equal(kept.numpy(), before)


def test_an_input_that_begins_behind_its_data_is_read_from_there(tmp_path):
    """DLPack allows it; a kernel refuses it, but an input that is reshaped first reaches none."""
    model = imported(Small(lambda s, x: s.a(x.reshape(1, 48)), a=nn.Linear(48, 5)), (1, 6, 8))
    machine, (x, weights) = ready(model, tmp_path)
    (wanted,) = arrays(machine["main"](x, weights))
    larger = np.concatenate([np.full(64, np.nan, np.float32), x.numpy().ravel()])
    view_of = tvm.get_global_func("runtime.TVMTensorCreateView")
    shape, dtype = tvm.runtime.ShapeTuple((1, 6, 8)), tvm.DataType("float32")
    view = view_of(tvm.runtime.tensor(larger), shape, dtype, 4 * 64)
    (found,) = arrays(machine["main"](view, weights))
    np.testing.assert_array_equal(found, wanted)


def test_the_memory_is_one_block_that_the_arena_hands_on():
    module = schedule(prepare(known(SmallCnn), HOST), None).module
    text = module["main"].script()
    assert text.count("alloc_storage(R.shape([1, ") == 1


def with_a_call_of_the_runtimes(module: tvm.IRModule) -> tvm.IRModule:
    """The module with something in `main` that only the virtual machine does."""
    function = module["main"]
    x = function.params[0]
    own = relax.Call(relax.ExternFunc("vm.builtin.copy"), [x], ty_args=[x.ty])
    block = relax.BindingBlock([relax.VarBinding(relax.Var("own", x.ty), own)])
    body = relax.SeqExpr([block, *function.body.blocks], function.body.body)
    changed = relax.Function(
        function.params, body, function.ret_ty, function.is_pure, function.attrs
    )
    module = module.clone()
    module.update_func(module.get_global_var("main"), changed)
    return relax.transform.Normalize()(module)


def test_what_does_more_than_call_kernels_is_left_to_the_virtual_machine():
    def functions(module: tvm.IRModule) -> set[str]:
        return {var.name_hint for var in call_at_once(module).get_global_vars()}

    bundled = relax.transform.BundleModelParams()(prepare(known(SmallCnn), HOST).module)
    plain, more = planned(bundled), with_a_call_of_the_runtimes(planned(bundled))
    assert {"run", BY_CALLS} <= functions(plain)
    assert not {"run", BY_CALLS} & functions(more)
    assert "alloc_storage(R.shape([1, " in call_at_once(more)["main"].script()
