"""The storages of activations are allocated first, the largest first, and marked by two extents."""

import numpy as np
import torch
import tvm
import tvm_ffi
from torch import nn
from tvm import relax

from adaspring.backends.build import planned_bytes
from adaspring.backends.schedule.arena import hoist_storages

from ...support.backends import planned, run
from ...support.boards import NULL
from ...support.passes import imported


class Growing(nn.Module):
    """Activations of 16, 1024 and 4096 bytes, which do not fit into one another."""

    def forward(self, x):
        y = torch.relu(x).reshape(1, 4, 1) * torch.ones(1, 4, 64)
        return (torch.relu(y).reshape(1, 4, 64, 1) * torch.ones(1, 4, 64, 4)).sum((2, 3))


def growing() -> tvm.IRModule:
    """The network as TVM plans it."""
    return planned(relax.transform.LegalizeOps()(imported(Growing().eval(), (1, 4)).module))


def storages(module) -> list[tuple[int, list[int]]]:
    """Position and extents of each storage that `main` allocates."""
    bindings = [b for block in module["main"].body.blocks for b in block.bindings]
    return [
        (position, [int(extent) for extent in binding.value.args[0].values])
        for position, binding in enumerate(bindings)
        if getattr(getattr(binding.value, "op", None), "name", "") == "relax.memory.alloc_storage"
    ]


def test_storages_move_to_the_beginning_the_largest_first():
    module = growing()
    sizes = [extents[0] for _, extents in storages(module)]
    assert len(sizes) > 1
    assert sizes != sorted(sizes, reverse=True)
    found = storages(hoist_storages(module))
    assert [position for position, _ in found] == list(range(len(sizes)))
    assert [extents for _, extents in found] == [[1, n] for n in sorted(sizes, reverse=True)]


def test_planned_bytes_are_the_same():
    assert planned_bytes(hoist_storages(growing())) == planned_bytes(growing())


def test_the_module_is_left_as_it_was():
    module = growing()
    before = tvm_ffi.structural_hash(module)
    hoist_storages(module)
    assert tvm_ffi.structural_hash(module) == before


def test_a_network_that_keeps_nothing_is_left_alone():
    module = imported(nn.Identity().eval(), (1, 4)).module
    assert hoist_storages(module).same_as(module)


def test_the_built_network_computes_the_same_on_tvms_own_allocator(tmp_path):
    x = np.random.default_rng(0).standard_normal((1, 4), dtype=np.float32)
    (found,) = run(imported(Growing().eval(), (1, 4)), NULL, tmp_path, x)
    np.testing.assert_allclose(found, Growing()(torch.from_numpy(x)).numpy(), rtol=1e-5)
