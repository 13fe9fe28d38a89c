"""Each elementwise operator of torch, in its forms, against torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ...support.aten_forms import check, floats, form, integers, positive

A, B, COLUMN, ROW = floats(2, 3, 4), floats(2, 3, 4, seed=1), floats(3, 1), floats(4)
WHOLE, J = integers(-6, 7, 2, 3, 4), integers(1, 5, 2, 3, 4)
SMALL = WHOLE.int()
ZERO_D, FLAGS = floats(), floats(2, 3, 4) > 0
BOTH = (
    torch.tensor([7.0, -7.0, 7.0, -7.0, 6.0, 1.0]),
    torch.tensor([2.0, 2.0, -2.0, -2.0, 3.0, 0.1]),
)

PIXELS, FEW = integers(0, 256, 2, 3, dtype=torch.uint8), integers(-9, 9, 2, 3, dtype=torch.int16)
BYTES = integers(-9, 9, 2, 3, dtype=torch.int8)
SMALL_INTEGERS = {
    "pixels": form(lambda x: (x.float() / 255 - 0.5, x / 255, x.sum(), x.amax(1)), PIXELS),
    "pixels wrap": form(lambda x: (x + 200, x * 2, x - 100, -x, x + x), PIXELS),
    "pixels and numbers": form(
        lambda x: (x * 0.5, x + 1.5, x > 100, x == 7, x.long() - 300), PIXELS
    ),
    "of 8 bits": form(lambda x: (x + x, x * x, x // 2, x % 3, x.float(), x.abs(), x > 0), BYTES),
    "of 16 bits": form(lambda x: (x + 1, x * x, x // -2, x.sum(1), x.clamp(-2, 2)), FEW),
    "8 bits with 16 and 64": form(lambda x, y: (x + y, x + y.long(), x * y.float()), BYTES, FEW),
    "a boolean input": form(lambda m: (m.float(), ~m, m & m, m.sum(1), m + 1), PIXELS > 99),
    "a boolean input chooses": form(lambda x, m: torch.where(m, x, 0.0), A, FLAGS),
}
ARITHMETIC = {
    "add": form(lambda x, y: x + y, A, COLUMN),
    "add alpha": form(lambda x, y: torch.add(x, y, alpha=2.5), A, B),
    "add scalar alpha": form(lambda x: torch.add(x, 3, alpha=2), A),
    "add integer alpha": form(lambda x, y: torch.add(x, y, alpha=3), WHOLE, J),
    "add of mixed types": form(lambda x, i: x + i, A, WHOLE),
    "add of int32 and int64": form(lambda x, y: x + y, SMALL, J),
    "add of a number to integers": form(lambda x: x + 1.5, WHOLE),
    "add 0-d": form(lambda x, y: x + y, ZERO_D, ZERO_D),
    "add 0-d to integers": form(lambda x, y: x + y, WHOLE, ZERO_D),
    "add booleans": form(lambda x: (x > 0) + (x > 1), A),
    "multiply booleans": form(lambda x: (x > 0) * (x > 1), A),
    "booleans times floats": form(lambda x: (x > 0) * x, A),
    "add with the parameter second": form(
        lambda s, x: x.add(s.p, alpha=0.5), A, p=nn.Parameter(ROW)
    ),
    "in place": form(lambda x: x.clone().add_(1).mul_(3).sub_(2, alpha=2), A),
    "sub": form(lambda x, y: x - y, A, ROW),
    "sub alpha": form(lambda x, y: torch.sub(x, y, alpha=2), A, B),
    "sub integers alpha": form(lambda x, y: torch.sub(x, y, alpha=2), WHOLE, J),
    "rsub": form(lambda x: torch.rsub(x, 2.0, alpha=3) + (1 - x), A),
    "rsub tensor": form(lambda x, y: torch.rsub(x, y, alpha=3), A, B),
    "multiply": form(lambda x, y: x * y * 2, A, COLUMN),
    "multiply integers by a fraction": form(lambda x: x * 0.5, WHOLE),
    "divide": form(lambda x, y: x / y, A, B),
    "divide integers": form(lambda x, y: x / y, WHOLE, J),
    "divide integers by a number": form(lambda x: x / 2, WHOLE),
    "divide int32": form(lambda x: x / 4, SMALL),
    "divide by zero": form(lambda x: x / 0, A),
    "divide a number": form(lambda x: 1 / x + 2.0 / x, A),
    "reciprocal of integers": form(lambda x: x.reciprocal(), J),
    "floor division": form(lambda x, y: x // y, *BOTH),
    "floor division of integers": form(lambda x, y: x // y, WHOLE, J),
    "floor division by a negative number": form(lambda x: x // -2, WHOLE),
    "floor division of floats by a number": form(lambda x: x // 0.75, A),
    "division rounded to zero": form(lambda x: torch.div(x, 0.75, rounding_mode="trunc"), A),
    "integers' division rounded to zero": form(
        lambda x: torch.div(x, -3, rounding_mode="trunc"), WHOLE
    ),
    "integers' division rounded down": form(
        lambda x: torch.div(x, -3, rounding_mode="floor"), WHOLE
    ),
    "remainder": form(lambda x, y: x % y, *BOTH),
    "remainder of integers": form(lambda x: x % 4 + x % -4, WHOLE),
    "remainder of tensors of integers": form(lambda x, y: x % y, WHOLE, J),
    "remainder of a float by a number": form(lambda x: x % 0.3 - x % -0.3, A),
    "fmod": form(lambda x, y: torch.fmod(x, y), *BOTH),
    "fmod of integers": form(lambda x: torch.fmod(x, 4) + torch.fmod(x, -4), WHOLE),
    "power": form(lambda x: x**2 + x**3, A),
    "power of a fraction": form(lambda x: x**0.5 + x**-1.5 + x**1, positive(3, 4)),
    "power of tensors": form(lambda x, y: x**y, positive(2, 3, 4), A),
    "power of a number": form(lambda x: 2**x + 0.5**x, A),
    "power of integers": form(lambda x: x**2 + x**3, WHOLE),
    "power of integers by a fraction": form(lambda x: x**0.5, J),
    "maximum and minimum": form(lambda x, y: torch.maximum(x, y) - torch.minimum(x, ROW), A, B),
    "maximum of mixed types": form(lambda x, y: torch.maximum(x, y), A, WHOLE),
    "max other": form(lambda x, y: torch.max(x, y) + torch.min(x, y), WHOLE, J),
    "atan2": form(lambda x, y: torch.atan2(x, y), A, B),
    "addcmul": form(lambda x, y: torch.addcmul(x, x, y, value=0.3), A, B),
    "addcdiv": form(lambda x, y: torch.addcdiv(x, x, y, value=0.3), A, positive(4)),
    "lerp": form(lambda x, y: torch.lerp(x, y, 0.3), A, B),
    "hypot by hand": form(lambda x, y: (x.square() + y.square()).sqrt(), A, B),
    "logaddexp": form(lambda x, y: torch.logaddexp(x, y), A, B),
    "float_power is refused elsewhere": form(lambda x: torch.pow(x, 2.0), A),
}
BITS = torch.tensor([5, -7, 0, 12]), torch.tensor([3, 6, 255, -1])
COMPARISONS = {
    "comparisons": form(lambda x, y: (x > y, x >= y, x < y, x <= y, x == y, x != y), A, B),
    "with numbers": form(lambda x: (x > 0, x >= 0.5, x < 1, x <= -1, x == 0, x != 0), A),
    "integers with a fraction": form(lambda x: (x > 0.5, x == 2.5, x <= -0.5), WHOLE),
    "of mixed types": form(lambda x, y: (x > y, y <= x), A, WHOLE),
    "and, or, not, xor": form(
        lambda x, y: ((x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0), (x > 0) ^ (y > 0)), A, B
    ),
    "logical of numbers": form(
        lambda x, y: (
            torch.logical_and(x, y),
            torch.logical_or(x, y),
            torch.logical_not(x),
            torch.logical_xor(x, y),
        ),
        WHOLE,
        A,
    ),
    "comparisons of booleans": form(
        lambda x, y: ((x > 0) == (y > 0), (x > 0) != (y > 0), (x > 0) > (y > 0), (x > 0) == 1), A, B
    ),
    "extremes of booleans": form(
        lambda x, y: (torch.maximum(x > 0, y > 0), torch.minimum(x > 0, y > 0), (x > 0).amax(1)),
        A,
        B,
    ),
    "bits": form(lambda x, y: (x & y, x | y, x ^ y, ~x, x & 6), *BITS),
    "shifts": form(lambda x: (x << 2, x >> 1), BITS[0]),
    "isnan and isinf": form(
        lambda x: (torch.isnan(x), torch.isinf(x), torch.isfinite(x)),
        torch.tensor([1.0, math.nan, math.inf, -math.inf]),
    ),
    "where": form(lambda x, y: torch.where(x > 0, x, y), A, B),
    "where with numbers": form(
        lambda x: torch.where(x > 0, x, 0.0) + torch.where(x > 0, 1.0, -1.0), A
    ),
    "where of mixed types": form(lambda x, i: torch.where(x > 0, x, i), A, WHOLE),
    "where of integers": form(lambda i: torch.where(i > 0, i, -1), WHOLE),
    "where broadcast": form(lambda x, y: torch.where(y > 0, x, y), A, ROW),
    "masked_fill": form(lambda x: x.masked_fill(x > 0, float("-inf")), A),
    "masked_fill of integers": form(lambda i: i.masked_fill(i > 0, 9), WHOLE),
    "masked_fill by a tensor": form(lambda x: x.masked_fill(x > 0, torch.tensor(2.0)), A),
    "masked_fill broadcast": form(lambda x, y: x.masked_fill(y > 0, 0), A, COLUMN),
    "sign": form(lambda x: torch.sign(x) + x.sgn(), A),
    "sign of integers": form(lambda x: torch.sign(x), WHOLE),
    "isclose": form(lambda x, y: torch.isclose(x, y, atol=0.5), A, B),
    "boolean casts": form(lambda x: (x > 0).float() + (x > 1).int() + (x > 0).long(), A),
    "casts": form(lambda x: (x.int(), x.long(), x.bool(), (x * 3).to(torch.int32).float()), A * 4),
    "type_as": form(lambda x, i: i.type_as(x) + x.to(i.dtype), A, WHOLE),
    "nan_to_num": form(lambda x: torch.nan_to_num(x, nan=2.0), torch.tensor([1.0, math.nan, -1.0])),
    "one_hot": form(lambda i: F.one_hot(i, 6), J),
}
CURVES = {
    **{
        name: form(getattr(torch, name), A)
        for name in (
            *("abs", "neg", "exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asinh"),
            *(
                "atan",
                "sigmoid",
                "floor",
                "ceil",
                "round",
                "trunc",
                "frac",
                "erf",
                "square",
                "relu",
            ),
            *("exp2", "erfc", "sinc", "deg2rad", "logit", "isfinite"),
        )
    },
    **{
        f"{name} of positives": form(getattr(torch, name), positive(3, 4))
        for name in ("sqrt", "rsqrt", "log", "log2", "log10", "log1p", "reciprocal", "acosh")
    },
    **{
        f"{name} below one": form(getattr(torch, name), torch.linspace(-0.9, 0.9, 7))
        for name in ("asin", "acos", "atanh", "log1p", "arcsin", "arctan", "erf")
    },
    **{
        f"{name} of integers": form(getattr(torch, name), J)
        for name in (
            "sqrt",
            "rsqrt",
            "exp",
            "sin",
            "tanh",
            "sigmoid",
            "log",
            "abs",
            "neg",
            "square",
        )
    },
    "floor of integers": form(
        lambda x: (torch.floor(x) + 1, torch.ceil(x) * 2, torch.round(x)), WHOLE
    ),
    "half to even": form(lambda x: torch.round(x), torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])),
    "round to decimals": form(lambda x: torch.round(x, decimals=2), A),
    "log1p of what is small": form(torch.log1p, torch.tensor([1e-6, -1e-6, 1e-9])),
    "expm1 of what is small": form(torch.expm1, torch.tensor([1e-6, -1e-6, 1e-9])),
    "activations": form(
        lambda x: F.relu6(3 * x) + F.hardtanh(x, -0.5, 0.7) + F.hardswish(4 * x), A
    ),
    "hardsigmoid": form(lambda x: F.hardsigmoid(4 * x), A),
    "leaky relu": form(lambda x: F.leaky_relu(x) + F.leaky_relu(x, 0.2) + F.leaky_relu(x, -0.2), A),
    "leaky relu of integers is a float": form(lambda x: F.leaky_relu(x.float(), 0.2), WHOLE),
    "elu": form(lambda x: F.elu(x) + F.elu(x, 0.7) + F.celu(x, 0.6) + F.selu(x), A),
    "gelu": form(lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"), A),
    "silu and mish": form(lambda x: F.silu(x) + F.mish(x), A),
    "softplus": form(lambda x: F.softplus(x) + F.softplus(x, 2.0) + F.softplus(x, 3.0, 1.0), A * 5),
    "softplus far out": form(lambda x: F.softplus(x), torch.tensor([100.0, -100.0, 25.0, 19.0])),
    "softsign": form(lambda x: F.softsign(x) + F.tanhshrink(x) + F.logsigmoid(x), A),
    "shrinks": form(lambda x: F.softshrink(x, 0.3) + F.hardshrink(x, 0.6), A),
    "threshold": form(lambda x: F.threshold(x, 0.1, -2.0), A),
    "glu": form(
        lambda x: F.glu(x, -1) + F.glu(x.transpose(0, 1)[:, :2].transpose(0, 1), 0), floats(2, 2, 2)
    ),
    "prelu with one slope": form(lambda s, x: s.a(x), A, a=nn.PReLU()),
    "prelu by channel": form(lambda s, x: s.a(x), A, a=nn.PReLU(3)),
    "prelu of four axes": form(lambda s, x: s.a(x), floats(2, 3, 4, 5), a=nn.PReLU(3)),
    "prelu of one axis": form(lambda s, x: s.a(x), ROW, a=nn.PReLU()),
    "clamp": form(lambda x: x.clamp(-0.5, 0.7), A),
    "clamp from below": form(lambda x: x.clamp(min=0.1) + x.clamp_min(-0.2), A),
    "clamp from above": form(lambda x: x.clamp(max=0.1) + x.clamp_max(0.2), A),
    "clamp of integers": form(lambda x: x.clamp(-2, 3), WHOLE),
    "clamp of integers by fractions": form(lambda x: x.clamp(-1.5, 2.5), WHOLE),
    "clamp by tensors": form(lambda x, y: x.clamp(min=y) + x.clamp(-y.abs(), y.abs()), A, ROW),
    "clamp crossed": form(lambda x: x.clamp(0.5, -0.5), A),
    "softmax": form(lambda x: F.softmax(x, 1) + F.log_softmax(x, -1) + F.softmin(x, 0), A),
    "softmax with a type": form(lambda x: F.softmax(x, 1, dtype=torch.float32), WHOLE),
    "softmax 0-d": form(lambda x: F.softmax(x, 0), ZERO_D),
    "logsumexp": form(lambda x: torch.logsumexp(x, (0, 2), keepdim=True), A),
}
FORMS = SMALL_INTEGERS | ARITHMETIC | COMPARISONS | CURVES


@pytest.mark.parametrize("name", FORMS)
def test_an_elementwise_operator_computes_what_torch_does(name):
    check(FORMS[name].network(), FORMS[name].inputs)
