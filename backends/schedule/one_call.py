"""All kernels of a network are called by one function, which knows where everything lies.

Before  b = alloc_storage((m,)); x = alloc_tensor(b, 0, …); w = weights[3]; conv(a, w, x); …
After   b = alloc_storage((1, m + n)); memory = alloc_tensor(b, 0, …); y = alloc_tensor(…)
        run(a, weights, memory, y)

A layer is five to ten instructions of the virtual machine, which takes longer over them than over
some layers. `run` calls the same kernels. What was `main` stays beside it, for a profile to tell
its calls apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import IRModule, relax, tirx
from tvm.ir import Call, Expr, GenericConst, GlobalVar, Op, PointerType, PrimType
from tvm.tirx import AttrStmt, Evaluate, PrimFunc, SeqStmt

from ...library.executable import BY_CALLS
from .arena import calls, hoist_storages, is_storage, marked, storage_bytes

_RUN, _CPU = "run", 1
_WITHIN, _OWN = Op.get("relax.memory.alloc_tensor"), Op.get("relax.builtin.alloc_tensor")
_RESHAPE = Op.get("relax.reshape")
_ALIGNMENT_BYTES = 64
_SYMBOL = "__tvm_ffi_{}"  # of the C function that a packed one is
# What `tvm_struct_get` reads: of a DLTensor its data, and how far behind them it begins; of a
# TVMFFIAny what it holds.
_DATA, _BYTE_OFFSET, _HELD = 1, 8, 15
# What follows the 24 bytes of a TVMFFIObject is a tensor's DLTensor, and an array's pointer to its
# items; read as TVMFFIAny, of 16 bytes with what it holds in the last 8, that is the second's.
_HEADER_BYTES, _BEHIND_HEADER = 24, 1


def call_at_once(module: IRModule) -> IRModule:
    """Let `main` call one function; where it does more than call kernels, hoist its storages alone.

    Its memory is planned, and its last parameter is all weights (`BundleModelParams`).
    """
    var = module.get_global_var("main")
    reader = _Reader(module[var])
    if not reader.understood:
        return hoist_storages(module)
    run, plain, called = GlobalVar(_RUN), GlobalVar(BY_CALLS), reader.run()
    relax.expr._update_type(run, called.ty)
    relax.expr._update_type(plain, var.ty)
    functions = {key: value for key, value in module.functions_items() if not key.same_as(var)}
    functions |= {run: called, plain: module[var], var: reader.main(run)}
    return relax.transform.Normalize()(IRModule(functions, attrs=module.attrs))


@dataclass(frozen=True)
class _Place:
    """Where a tensor is while `run` runs: in a DLTensor, or, where that is None, at `data`."""

    tensor: Expr | None
    data: Expr

    def argument(self, ty: relax.TensorType) -> Expr:
        """What a kernel is given that reads or writes it, in the shape of `ty`."""
        if self.tensor is not None:
            return self.tensor
        extents = [tirx.const(int(extent), "int64") for extent in ty.shape.values]
        shape = Call("tirx.tvm_stack_make_shape", extents, ret_ty=PointerType(PrimType("int64")))
        zero = tirx.const(0, str(ty.dtype))
        return tirx.op.tvm_stack_make_array(self.data, shape, 0, len(extents), zero, 0)


class _Reader:
    """Reads `main`, binding by binding; it is not understood where one is of another kind."""

    def __init__(self, function: relax.Function) -> None:
        self._function = function
        *inputs, self._weights = function.params
        self._parameters = {p: tirx.Var(p.name, "handle") for p in function.params}
        self._memory = tirx.Var("memory", "handle")
        self._places = {each: _of(self._parameters[each]) for each in inputs}
        self._storages: list[relax.Binding] = []
        self._begins: dict[Expr, int] = {}  # of each storage in the one block
        self._bytes = 0
        self._outputs: list[relax.Binding] = []  # memory that the app keeps
        self._views: list[relax.Binding] = []  # other names and shapes of outputs, and tuples
        self._own: set[Expr] = set()  # whatever lies in outputs
        self._tuples: dict[Expr, relax.Tuple] = {}
        self._constants: dict[Expr, tirx.Var] = {}
        self._calls: list[Evaluate] = []
        bindings = [binding for block in function.body.blocks for binding in block.bindings]
        self.understood = all(map(self._reads, bindings)) and self._gives_own()

    def run(self) -> PrimFunc:
        """The function of inputs, weights, memory, constants and outputs that calls all."""
        given = [self._parameters[each] for each in self._function.params]
        outputs = [self._parameters[binding.var] for binding in self._outputs]
        memory = [self._memory] if self._storages else []
        parameters = [*given, *memory, *self._constants.values(), *outputs]
        body = self._calls[0] if len(self._calls) == 1 else SeqStmt(self._calls)
        for key, value in (("device_type", _CPU), ("device_id", 0)):  # of what stands on the stack
            body = AttrStmt(0, key, value, body)
        run = PrimFunc(parameters, body)
        return run.with_attr("global_symbol", _RUN).with_attr("tirx.is_scheduled", True)

    def main(self, run: GlobalVar) -> relax.Function:
        """What allocates, calls it, and gives the outputs their shapes."""
        function, outputs = self._function, [binding.var for binding in self._outputs]
        made, memory = self._allocated()
        called = relax.Call(run, [*function.params, *memory, *self._constants, *outputs])
        ran = relax.VarBinding(relax.Var("ran", relax.TupleType([])), called)
        block = relax.BindingBlock([*made, *self._outputs, ran, *self._views])
        body = relax.SeqExpr([block], function.body.body)
        return relax.Function(
            function.params, body, function.ret_ty, function.is_pure, function.attrs
        )

    def _allocated(self) -> tuple[list[relax.Binding], list[relax.Var]]:
        """The bindings of the memory, and what it is in them."""
        if not self._storages:
            return [], []
        storage, shape = marked(self._storages[0], self._bytes), relax.ShapeExpr([self._bytes])
        memory = relax.Var("memory", relax.TensorType(shape, "uint8"))
        tensor = relax.op.memory.alloc_tensor(storage.var, 0, shape, "uint8")
        return [storage, relax.VarBinding(memory, tensor)], [memory]

    def _gives_own(self) -> bool:
        given = self._function.body.body
        fields = given.fields if isinstance(given, relax.Tuple) else [given]
        return bool(self._calls) and all(field in self._own for field in fields)

    def _reads(self, binding: relax.Binding) -> bool:
        var, value = binding.var, binding.value
        if is_storage(binding):
            self._storages.append(binding)
            self._begins[var] = self._bytes
            self._bytes += -(-storage_bytes(binding) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
            return True
        if isinstance(value, relax.Tuple):
            self._tuples[var] = value
            if all(field in self._own for field in value.fields):
                self._keep(binding)
            return all(field in self._places for field in value.fields)
        if isinstance(value, relax.Call) and isinstance(value.op, GlobalVar):
            return self._reads_call(value)
        place = self._place(binding)
        if place is not None:
            self._places[var] = place
        return place is not None

    def _reads_call(self, call: relax.Call) -> bool:
        for constant in call.args:
            if isinstance(constant, GenericConst) and constant not in self._places:
                self._constants[constant] = tirx.Var(f"constant{len(self._constants)}", "handle")
                self._places[constant] = _of(self._constants[constant])
        if not all(argument in self._places for argument in call.args):
            return False
        given = [self._places[argument].argument(argument.ty) for argument in call.args]
        symbol = _SYMBOL.format(call.op.name_hint)
        self._calls.append(Evaluate(tirx.call_cpacked(symbol, *given)))
        return True

    def _place(self, binding: relax.Binding) -> _Place | None:
        """Where the tensor that a binding names is; None where it binds something else."""
        var, value = binding.var, binding.value
        if isinstance(value, relax.TupleGetItem) and value.tuple_value.same_as(self._weights):
            items = _held(self._parameters[self._weights], _BEHIND_HEADER)
            return _of(tirx.handle_add_byte_offset(_held(items, value.index), _HEADER_BYTES))
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self._tuples:
            value = self._tuples[value.tuple_value].fields[value.index]
        if calls(value, _WITHIN):
            begin = self._begins[value.args[0]] + int(value.args[1].value)
            return _Place(None, tirx.handle_add_byte_offset(_of(self._memory).data, begin))
        if calls(value, _OWN):
            self._outputs.append(binding)
            self._own.add(var)
            self._parameters[var] = tirx.Var(var.name, "handle")
            return _of(self._parameters[var])
        reshapes = calls(value, _RESHAPE)
        source = value.args[0] if reshapes else value
        place = self._places.get(source) if isinstance(source, relax.Var) else None
        if place is not None and source in self._own:
            self._keep(relax.VarBinding(var, value))
        return _Place(None, place.data) if place is not None and reshapes else place

    def _keep(self, binding: relax.Binding) -> None:
        self._views.append(binding)
        self._own.add(binding.var)


def _of(tensor: Expr) -> _Place:
    """The place that a DLTensor says."""
    data = tirx.tvm_struct_get(tensor, 0, _DATA, "handle")
    behind = tirx.tvm_struct_get(tensor, 0, _BYTE_OFFSET, "uint64")
    return _Place(tensor, tirx.op.handle_add_byte_offset(data, behind.astype("int64")))


def _held(items: Expr, index: int) -> Expr:
    """What an item of an array of TVMFFIAny holds."""
    return tirx.tvm_struct_get(items, index, _HELD, "handle")
