"""Shapes, creation, reductions, sorting, in their forms, against torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ...support.aten_forms import check, floats, form, integers

X, V, ZERO_D = floats(2, 5, 6), floats(6), floats()
WHOLE, SMALL = integers(-6, 7, 2, 5, 6), integers(-6, 7, 2, 5, 6).int()
WITH_NAN = torch.tensor([[1.0, math.nan, 2.0], [3.0, 4.0, -5.0]])

SHAPES = {
    "views": form(
        lambda x: (x.view(10, 6), x.reshape(-1), x.flatten(1), x.unflatten(2, (2, 3))), X
    ),
    "axes": form(lambda x: (x.transpose(0, -1), x.permute(2, 0, 1), x.mT, x.movedim(0, 2)), X),
    "t": form(lambda x: x[0].t() + x[0].T, X),
    "ones": form(
        lambda x: (x[:, :1].squeeze(), x[:, :1].squeeze(1), x[:, :1].squeeze(0), x.unsqueeze(-1)), X
    ),
    "squeeze axes": form(lambda x: x[:1, :, :1].squeeze((0, 2)), X),
    "expand": form(
        lambda x: (x.expand(2, 5, 6), x.expand(3, -1, -1, -1), x[:, :1].expand_as(x)), X
    ),
    "broadcast": form(
        lambda x, v: torch.broadcast_tensors(x, v)[1] + x.broadcast_to(1, 2, 5, 6), X, V
    ),
    "repeat": form(
        lambda x: (x.repeat(1, 2, 1), x.repeat(2, 1, 1, 1), x.tile(2), torch.tile(x, (1, 2, 3, 1))),
        X,
    ),
    "cat": form(lambda x: (torch.cat([x, x * 2], -1), torch.cat([x]), torch.cat([x, x, x], 1)), X),
    "cat of mixed types": form(lambda x, i: torch.cat([x, i], 1), X, WHOLE),
    "cat with an empty one": form(lambda x: torch.cat([x, x[:, 5:], x], 1), X),
    "stacks": form(
        lambda x: (
            torch.stack([x, x], 1),
            torch.stack([x, x], -1),
            torch.hstack([x, x]),
            torch.vstack([x, x]),
            torch.dstack([x, x]),
        ),
        X,
    ),
    "stack of numbers": form(lambda x: torch.stack([x, x * 2]), ZERO_D),
    "chunk": form(lambda x: (*x.chunk(2, -1), *x.chunk(1, 1), *x.chunk(3, 1)), X),
    "split": form(lambda x: (*x.split(2, 1), *x.split([1, 4], 1), *x.split(9, 1)), X),
    "split of one": form(lambda x: x.split([5], 1)[0] + 1, X),
    "tensor_split": form(lambda x: (*x.tensor_split(4, 1), *x.tensor_split((1, 3), -1)), X),
    "unbind": form(lambda x: torch.unbind(x, 1)[-1] + x.unbind(0)[0][0], X),
    "meshgrid": form(lambda v: torch.meshgrid(v, v[:2], indexing="ij"), V),
    "pixel shuffle": form(lambda x: F.pixel_shuffle(x, 2), floats(1, 8, 3, 2)),
    "pixel unshuffle": form(lambda x: F.pixel_unshuffle(x, 2), floats(1, 2, 4, 6)),
    "channel shuffle": form(lambda x: F.channel_shuffle(x, 2), floats(1, 4, 3, 2)),
    "constants": form(lambda x: x + torch.ones(5, 1) - torch.full((6,), 2.5) * torch.eye(6)[2], X),
    "like": form(lambda x: x * torch.ones_like(x) + torch.zeros_like(x) + torch.full_like(x, 3), X),
    "like with a type": form(
        lambda x: (
            torch.ones_like(x, dtype=torch.int64),
            x.new_full((2,), 3),
            x.new_zeros(1) + x[0, 0, 0],
        ),
        X,
    ),
    "ranges": form(
        lambda x: x + torch.arange(6) + torch.arange(1, 2, 0.2)[:, None] + torch.linspace(0, 1, 6),
        X,
    ),
    "range of integers": form(lambda i: i + torch.arange(0, 12, 2), WHOLE),
    "a constant beside": form(lambda x: (x + 1, torch.arange(3), torch.full((2,), 0.5)), X),
    "scalar_tensor": form(lambda x: x * torch.tensor(2) + torch.scalar_tensor(3.0), X),
    "a double constant": form(lambda x: x * torch.tensor(0.1, dtype=torch.float64), X),
    "a number of numpy": form(lambda x: x / math.sqrt(6) * (1 << 3), X),
    "an input as output": form(lambda x, y: (x, y + 1), X, V),
    "a parameter as output": form(lambda s, x: (s.p, x * 2), X, p=nn.Parameter(V.clone())),
    "a buffer as output": form(lambda s, x: (s.b, x * 2), X, b=nn.Buffer(V.clone())),
    "the same output twice": form(lambda x: (x + 1,) * 2, X),
    "an output that another reads": form(lambda x: (x.relu(), x.relu() + 1), X),
    "an unused input": form(lambda x, y: x + 1, X, V),
    "identity": form(lambda x: x, X),
    "constants alone": form(lambda x: (torch.ones_like(x), torch.arange(3)), X),
    "aliases": form(lambda x: x.detach().clone().contiguous() + 0, X),
    "0-d": form(lambda x: (x * 2, x.exp(), x[None], x.reshape(1, 1), x.expand(3)), ZERO_D),
}
REDUCTIONS = {
    "sum": form(
        lambda x: (x.sum(), x.sum(1), x.sum((0, -1)), x.sum(-1, keepdim=True), x.sum(())), X
    ),
    "sum of integers": form(lambda x: (x.sum(), x.sum(1)), SMALL),
    "sum of booleans": form(lambda x: ((x > 0).sum(), (x > 0).sum(1, keepdim=True)), X),
    "sum with a type": form(
        lambda x: (x.sum(1, dtype=torch.float32), x.sum(dtype=torch.int32)), WHOLE
    ),
    "mean": form(lambda x: (x.mean(), x.mean(1), x.mean((0, -1), keepdim=True)), X),
    "mean with a type": form(lambda x: x.mean(1, dtype=torch.float32), WHOLE),
    "products": form(lambda x: (x.prod(), x.prod(1), x.prod(-1, keepdim=True)), X),
    "product of integers": form(lambda x: (x.prod(1), x[0, 0].prod()), SMALL),
    "extremes": form(
        lambda x: (x.amax(1), x.amin((0, 2), keepdim=True), x.max(), x.min(), x.amax()), X
    ),
    "extremes of integers": form(lambda x: (x.amax(1), x.max(), x.min()), SMALL),
    "aminmax": form(lambda x: torch.aminmax(x, dim=1), X),
    "max with dim": form(lambda x: (*x.max(1), *x.max(-1, keepdim=True)), X),
    "min with dim": form(lambda x: (*x.min(1), *x.min(0, keepdim=True)), X),
    "values of max alone": form(lambda x: x.max(1).values + x.min(1)[0], X),
    "indices of max alone": form(lambda x: x.max(1).indices, X),
    "max of integers with dim": form(lambda x: (x.max(1).values, x.min(2).values), SMALL),
    "argmax": form(lambda x: (x.argmax(), x.argmax(1), x.argmin(-1, keepdim=True)), X),
    "argmax keeps all": form(lambda x: x.argmax(keepdim=True), X),
    "any and all": form(
        lambda x: ((x > 2).any(), (x > 0).any(1), (x > -9).all(), (x > -1).all(1, keepdim=True)), X
    ),
    "any of numbers": form(lambda x: (x.any(1), x.all(1)), WHOLE),
    "any over axes": form(lambda x: (x > 1).any((0, 2)), X),
    "variances": form(
        lambda x: (x.var(), x.var(1), x.var((0, 2), keepdim=True), x.var(1, correction=0)), X
    ),
    "deviations": form(lambda x: (x.std(1), x.std(1, unbiased=False), x.std(1, correction=2)), X),
    "var_mean": form(lambda x: torch.var_mean(x, 1, correction=1), X),
    "std_mean": form(lambda x: torch.std_mean(x, (0, 1), keepdim=True), X),
    "norms": form(
        lambda x: (
            x.norm(),
            x.norm(dim=1),
            torch.linalg.vector_norm(x, 1, dim=-1),
            torch.linalg.vector_norm(x, 3, dim=(0, 2)),
        ),
        X,
    ),
    "norms at the ends": form(
        lambda x: (
            torch.linalg.vector_norm(x, math.inf, dim=1),
            torch.linalg.vector_norm(x, -math.inf, dim=1),
            torch.linalg.vector_norm(x, 0, dim=1),
        ),
        X,
    ),
    "normalize": form(lambda x: F.normalize(x, dim=1) + F.normalize(x, p=1, dim=-1), X),
    "cosine similarity": form(lambda x: F.cosine_similarity(x, x.flip(1), dim=-1), X),
    "distances": form(lambda x: torch.cdist(x, x[:, :3] + 1), X),
    "cumsum": form(lambda x: (x.cumsum(1), x.cumsum(-1)), X),
    "cumsum of integers": form(lambda x: (x.cumsum(1), x.bool().cumsum(0)), SMALL),
    "cumprod": form(lambda x: x.cumprod(1), X),
    "count_nonzero": form(lambda x: torch.count_nonzero(x > 0, dim=1), X),
    "sort": form(lambda x: (*x.sort(1), *x.sort(-1, descending=True)), X),
    "sort of integers": form(lambda x: x.sort(1).values, SMALL),
    "argsort": form(lambda x: (x.argsort(), x.argsort(0, descending=True)), X),
    "topk": form(lambda x: (*x.topk(3), *x.topk(2, 1, largest=False)), X),
    "median": form(lambda x: (x.median(), x.median(1).values), X),
    "reductions of 0-d": form(lambda x: (x.sum(), x.mean(), x.amax(), x.sum(0) + 1), ZERO_D),
    "reduction to a number times": form(lambda x: x * x.mean() + x.max(), X),
}
FORMS = {
    f"{kind}: {name}": value
    for kind, forms in (("shapes", SHAPES), ("reductions", REDUCTIONS))
    for name, value in forms.items()
}


@pytest.mark.parametrize("name", FORMS)
def test_a_shape_or_reduction_computes_what_torch_does(name):
    check(FORMS[name].network(), FORMS[name].inputs)
