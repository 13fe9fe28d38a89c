"""A transposed convolution is the phases of an ordinary one, side by side."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adaspring.backends.kernels.phases import Phases, phase_weight, wasted_macs_count

SETTINGS = [
    (kernel, stride, dilation, padding, more, groups)
    for kernel, stride in [(1, 1), (3, 1), (4, 2), (2, 2), (3, 2), (5, 3), (2, 4), (9, 3)]
    for dilation in (1, 2)
    for padding, more in [(0, 0), (1, 1), (2, 0)]
    for groups in (1, 2)
    if more < stride and padding <= dilation * (kernel - 1)
]


@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding", "more", "groups"), SETTINGS)
def test_the_phases_side_by_side_are_what_torch_computes(
    kernel, stride, dilation, padding, more, groups
):
    random = np.random.default_rng(0)
    x, weight = random.normal(size=(2, 4, 7)), random.normal(size=(4, 3, kernel))
    settings = {"stride": stride, "padding": padding, "output_padding": more, "groups": groups}
    inputs = torch.from_numpy(x), torch.from_numpy(weight)
    wanted = F.conv_transpose1d(*inputs, dilation=dilation, **settings).numpy()
    axis = Phases.of(
        7, kernel, stride=stride, dilation=dilation, padding=(padding, padding), more=more
    )
    assert axis.outputs == wanted.shape[2]
    whole = phase_weight(weight, groups, (axis,), axis.whole)
    by_phase = torch.from_numpy(np.ascontiguousarray(whole))
    padded = F.pad(inputs[0], (axis.start, axis.end))
    sums = F.conv1d(padded, by_phase, dilation=axis.dilation, groups=groups)
    assert sums.shape[2] >= axis.positions
    places = sums.reshape(2, groups, stride, -1, sums.shape[2]).permute(0, 1, 3, 4, 2)
    side_by_side = places.reshape(2, wanted.shape[1], -1)
    found = side_by_side[:, :, axis.crop : axis.crop + axis.outputs]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_kernel_that_the_stride_divides_is_multiplied_by_no_zeros():
    axis = Phases.of(8, 4, stride=2, dilation=1, padding=(1, 1), more=0)
    assert axis.taps * axis.count == 4


def test_a_phase_of_its_own_has_the_taps_that_are_not_zeros():
    axis = Phases.of(8, 3, stride=2, dilation=1, padding=(1, 1), more=1)
    weight = np.arange(1.0, 4.0).reshape(1, 1, 3)
    parts = [phase_weight(weight, 1, (axis,), (run,)) for run in axis.runs]
    assert [part.tolist() for part in parts] == [[[[3.0, 1.0]]], [[[2.0]]]]
    assert wasted_macs_count((axis,), 5) == 5 * axis.positions
