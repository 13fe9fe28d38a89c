"""Complex numbers, Fourier transforms and what is found by comparing: as torch computes them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.frontend.from_torch.importer import from_torch

from ...support.aten_forms import assert_equal, check, floats, form, integers, outputs_of
from ...support.backends import run
from ...support.boards import HOST

X, V, SIGNAL = floats(2, 3, 6, 5), floats(3, 7), floats(2, 64)
AT, PARAMETER = torch.tensor, nn.Parameter
WINDOW = nn.Buffer(torch.hann_window(16))


def _spectrum(s, x, **settings):
    return torch.stft(x, 16, 8, window=s.w, return_complex=True, **settings)


COMPLEX = {
    "real to complex": form(lambda x: torch.view_as_real(torch.fft.rfft(x)), SIGNAL),
    "parts": form(lambda x: (torch.fft.fft(x).real, torch.fft.fft(x, norm="ortho").imag), SIGNAL),
    "size and angle": form(lambda x: (torch.fft.rfft(x).abs(), torch.fft.rfft(x).angle()), SIGNAL),
    "there and back": form(
        lambda s, x: torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(s.w)),
        *(SIGNAL,),
        w=PARAMETER(floats(33, 2)),
    ),
    "over two axes": form(
        lambda s, x: torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") / (s.w + 1), s=(6, 5)),
        *(X,),
        w=PARAMETER(floats(6, 3).abs()),
    ),
    "of an odd length, padded": form(
        lambda x: torch.fft.irfft(torch.fft.rfft(x, n=9), n=9), floats(2, 7)
    ),
    "mixed tokens": form(lambda x: torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real, V[None]),
    "shifted": form(lambda x: torch.fft.fftshift(torch.fft.fft(x)).abs(), SIGNAL),
    "short-time": form(lambda s, x: torch.view_as_real(_spectrum(s, x)), SIGNAL, w=WINDOW),
    "short-time, not centred": form(
        lambda s, x: _spectrum(s, x, center=False).abs().pow(2), SIGNAL, w=WINDOW
    ),
    "short-time and back": form(
        lambda s, x: torch.istft(_spectrum(s, x), 16, 8, window=s.w), SIGNAL, w=WINDOW
    ),
    "turned positions": form(
        lambda s, x: torch.view_as_real(
            torch.view_as_complex(x.reshape(2, 3, 15, 2)) * s.c
        ).flatten(2),
        *(X,),
        c=nn.Buffer(torch.polar(torch.ones(3, 1), torch.arange(3.0)[:, None])),
    ),
    "arithmetic": form(
        lambda x: torch.view_as_real(
            torch.cat([(a := torch.fft.rfft(x)) * 2j + x[:, :1], -a.conj() - 1, a / (a + 3)], 1)[
                :, 2:, None
            ].sum(1)
        ),
        SIGNAL,
    ),
    "a product of matrices": form(
        lambda s, x: torch.einsum("bk,kj->bj", torch.fft.rfft(x), torch.view_as_complex(s.w)).abs(),
        *(SIGNAL,),
        w=PARAMETER(floats(33, 4, 2)),
    ),
    "some frequencies kept": form(
        lambda x: torch.fft.irfft(
            torch.slice_scatter(torch.fft.rfft(x * 0), torch.fft.rfft(x)[:, :9], 1, 0, 9)
        ),
        SIGNAL,
    ),
}
FOUND = {
    "the sum of each bag": form(
        lambda s, i: s.e(i), integers(0, 5, 2, 4), e=nn.EmbeddingBag(5, 3, mode="sum")
    ),
    "the mean of uneven bags": form(
        lambda s, i: s.e(i, AT([0, 1, 1])), integers(0, 5, 4), e=nn.EmbeddingBag(5, 3)
    ),
    "the largest of uneven bags": form(
        lambda s, i: s.e(i, AT([0, 3, 3])), integers(0, 5, 4), e=nn.EmbeddingBag(5, 3, mode="max")
    ),
    "weighted bags": form(
        lambda s, i, w: s.e(i, per_sample_weights=w),
        *(integers(0, 5, 2, 4), floats(2, 4)),
        e=nn.EmbeddingBag(5, 3, mode="sum"),
    ),
    "buckets": form(
        lambda x: (
            torch.bucketize(x, AT([-1.0, 0, 0.5])),
            torch.bucketize(x, AT([-1.0, 0]), right=True, out_int32=True),
        ),
        torch.cat([V, AT([[-1.0, 0, 0.5, 1, -2, 0, 0]])]),
    ),
    "places in sorted rows": form(
        lambda s, x: torch.searchsorted(s.cumsum(1), x, side="right"), floats(3, 4).abs(), V
    ),
    "running extremes": form(lambda x: (*x.cummax(1), *x.cummin(0)), torch.round(V * 2)),
    "a running logarithm of sums": form(lambda x: (x * 40).logcumsumexp(1), V),
    "the third smallest": form(lambda x: (*x.kthvalue(3, 1), *x.kthvalue(1, 0, True)), V),
    "windows with their places": form(lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True), X),
    "windows and back": form(
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), floats(1, 2, 6, 4)
    ),
    "reduced places": form(
        lambda x, i: tuple(
            x.exp().scatter_reduce(1, i, x, how, include_self=own)
            for how in ("sum", "prod", "mean", "amax", "amin")
            for own in (True, False)
        ),
        *(V, integers(0, 7, 3, 7)),
    ),
    "numbers rather than NaN": form(lambda x: (torch.fmax(x.log(), x), torch.fmin(x, x.log())), V),
    "signs, sizes, powers": form(
        lambda x: (
            torch.copysign(x, AT([0.0, -0.0, 1, -1, 2, -2, 0])),
            torch.hypot(x, x * 1e30),
            torch.ldexp(x, AT(3)),
            torch.dist(x, x + 1),
        ),
        V,
    ),
    "windows unfolded and folded": form(
        lambda x: (
            F.unfold(x, 3, padding=1, stride=2),
            F.fold(F.unfold(x, 2, dilation=2), (6, 5), 2, dilation=2),
        ),
        X,
    ),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers_are_computed_as_pairs(name):
    check(COMPLEX[name].network(), COMPLEX[name].inputs)


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_by_comparing_is_what_torch_finds(name):
    check(FOUND[name].network(), FOUND[name].inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["short-time and back", "windows and back", "reduced places"])
def test_it_is_built_rightly(name, tmp_path):
    value = {**COMPLEX, **FOUND}[name]
    model = from_torch(value.network(), value.inputs, name="form")
    found = run(model, HOST, tmp_path, *(x.numpy() for x in value.inputs))
    assert_equal(found, outputs_of(value.network(), value.inputs), 1e-4)


def test_constant_transforms_have_a_name_and_are_dense_layers():
    network = form(lambda s, x: _spectrum(s, x).abs(), SIGNAL, w=WINDOW).network()
    model = from_torch(network, (SIGNAL,), name="net")
    assert all(np.isfinite(weight).all() for weight in model.weights.values())
    assert (16, 18) in {weight.shape for weight in model.weights.values()}
