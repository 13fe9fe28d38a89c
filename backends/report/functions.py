"""What each call of a lowered network computes, read off its loops before they are scheduled.

A function's multiply-adds are those of its blocks `sum = sum + a * b`. Of our own kernels the
padding of packed weights is not counted, and for Winograd's filtering the direct convolution's
multiply-adds stand beside those that are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import prod

import tvm
import tvm_ffi
from tvm import IRModule, relax
from tvm.ir import Call, Expr, TensorLoad
from tvm.s_tir import SBlock
from tvm.tirx import Add, BufferStore, Cast, LShift, Mul, PrimFunc, RShift

from ...library.manifest import FunctionRecord
from ..kernels import compute, recurrent, winograd
from ..kernels.compute import CONTRACT
from ..kernels.sixteen_bit import BITS
from ..kernels.work import Work, extents
from ..lowering.walk import QUANTIZATION
from ..schedule.contraction import is_handwritten, new_schedule
from ..schedule.default import calls_of, weights_of

_SHORT_TYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def functions_of(module: IRModule, weights: Sequence[str]) -> tuple[FunctionRecord, ...]:
    """Every call of `main`, in order; its last arguments are the `weights`."""
    names = weights_of(module, weights)
    computed: dict[tvm.ir.GlobalVar, _Computed] = {}
    records = []
    for call in calls_of(module):
        function, arguments = call.args[0], list(call.args[1].fields)
        if function not in computed:
            computed[function] = _computed(module[function])
        found = computed[function]
        records.append(
            FunctionRecord(
                name=str(function.name_hint),
                layers=_layers(arguments, names, found.multiplied),
                kernel=found.kernel,
                dtype=found.dtype,  # type: ignore[arg-type]
                macs_count=found.macs_count,
                performed_macs_count=found.performed_macs_count,
                moved_bytes=sum(_bytes(value.ty) for value in (*dict.fromkeys(arguments), call)),
            )
        )
    return tuple(records)


@dataclass(frozen=True, kw_only=True)
class _Computed:
    """What a function computes. `multiplied`: indices of the arguments that its sums read."""

    kernel: str
    dtype: str | None = None
    macs_count: int = 0
    performed_macs_count: int = 0
    multiplied: frozenset[int] = frozenset()


def _computed(function: PrimFunc) -> _Computed:
    if recurrent.is_recurrent(function):
        return _of_loop(function)
    if is_handwritten(function):
        return _Computed(kernel="TVM's own loops")
    sch = new_schedule(function)
    blocks = {
        (block := sch.get(found)).name_hint: block
        for found in sch.get_child_blocks(sch.get_sblock("root"))
    }
    sums = {name: block for name, block in blocks.items() if _factors(block)}
    if not sums:
        return _Computed(kernel="rule")
    copied = sch.mod["main"]
    read = [region.source for block in sums.values() for region in block.reads]
    multiplied = frozenset(
        index
        for index, parameter in enumerate(copied.params)
        if any(buffer.same_as(parameter) for buffer in read)
    )
    dtype = _dtype(next(iter(sums.values())))
    macs = sum(prod(extents(block)) for block in sums.values())
    kernel, work = "rule", Work(kernel="rule", macs_count=macs, performed_macs_count=macs)
    if set(sums) == {CONTRACT}:
        work = winograd.work_of(blocks) or compute.work_of(blocks)
        kernel = f"{work.kernel} {_SHORT_TYPES.get(dtype, dtype)}"
    return _Computed(
        kernel=kernel,
        dtype=dtype,
        macs_count=work.macs_count,
        performed_macs_count=work.performed_macs_count,
        multiplied=multiplied,
    )


def _of_loop(function: PrimFunc) -> _Computed:
    """A loop over time, whose second argument is the weight of all its steps."""
    dtype = str(function.params[1].ty.dtype)
    dtype = "bfloat16" if dtype == BITS else dtype
    work = recurrent.work_of(function)
    return _Computed(
        kernel=f"{work.kernel} {_SHORT_TYPES.get(dtype, dtype)}",
        dtype=dtype,
        macs_count=work.macs_count,
        performed_macs_count=work.performed_macs_count,
        multiplied=frozenset({1}),
    )


def _factors(block: SBlock) -> tuple[Expr, ...]:
    """The two factors of a block `sum = sum + a * b`; nothing of any other."""
    store = block.body
    if not isinstance(store, BufferStore) or not isinstance(store.value, Add):
        return ()
    total, product = store.value.a, store.value.b
    if not (isinstance(total, TensorLoad) and total.source.same_as(store.buffer)):
        return ()
    if not isinstance(product, Mul):
        return ()
    if tvm_ffi.structural_equal(product.a, product.b):
        return ()  # a square: a variance, which no layer is
    return product.a, product.b


def _dtype(block: SBlock) -> str:
    """The type that is multiplied: float32 where x is, else what the weight is stored in."""
    x, weight = (str(_stored(factor).ty.dtype) for factor in _factors(block))
    dtype = x if x == "float32" else weight
    return "bfloat16" if dtype == BITS else dtype


def _stored(value):
    """What is cast, scaled or unpacked by a factor; of bfloat16 the bits that become a float32."""
    if isinstance(value, Cast):
        return _stored(value.value)
    if isinstance(value, Call) and value.op.name == "tirx.reinterpret":
        return _stored(value.args[0])
    if isinstance(value, LShift | RShift | Mul):
        return _stored(value.a)
    return value


def _layers(
    arguments: Sequence[relax.Expr], names: Mapping[relax.Var, str], multiplied: Set[int]
) -> tuple[str, ...]:
    """The layers whose weights are multiplied and summed, else those of all that is read."""
    read = {
        i: names[argument]
        for i, argument in enumerate(arguments)
        if argument in names and not names[argument].startswith(QUANTIZATION)
    }
    found = [name for i, name in read.items() if i in multiplied] or list(read.values())
    plain = [name.partition("#")[0] for name in found]
    weights = [name for name in plain if name.endswith(".weight")] or plain
    return tuple(dict.fromkeys(name.removesuffix(".weight") for name in weights))


def _bytes(ty: tvm.ir.Type) -> int:
    """Bytes of a tensor, or of all that a tuple holds."""
    if isinstance(ty, relax.TupleType):
        return sum(_bytes(field) for field in ty.fields)
    bits = tvm.DataType(str(ty.dtype)).bits
    return prod(int(extent) for extent in ty.shape.values) * ((bits + 7) // 8)
