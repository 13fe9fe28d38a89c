"""Einsum as transposes, products of matrices and sums, which passes and kernels know.

Before  Einsum("bid,bjd->bij", x, y)
After   matmul(x, permute_dims(y, [0, 2, 1]))
Shapes  any number of operands, from the left; diagonals, sums and ellipses too
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..arguments import Inputs, emit
from .indices import take

_op = relax.op
_FREE = "0123456789"  # names for the axes of an ellipsis


def einsum(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Einsum of one operand or more."""
    terms, result = _labels(attrs["equation"].decode(), [x.ty.ndim for x in inputs])
    lengths: dict[str, int] = {}
    for x, term in zip(inputs, terms, strict=True):
        for label, length in zip(term, shape_of(x), strict=True):
            lengths[label] = max(length, lengths.get(label, 1))
    left, *rest = [_without_diagonals(x, t) for x, t in zip(inputs, terms, strict=True)]
    for at, right in enumerate(rest):
        needed = set(result).union(*(term for _, term in rest[at + 1 :]))
        left, right = (
            _summed(x, term, needed | set(other))
            for (x, term), other in ((left, right[1]), (right, left[1]))
        )
        left = _product(left, right, needed)
    x, term = _summed(*left, set(result))
    x = _ordered(x, term, [label for label in result if label in term])
    shape = tuple(lengths[label] for label in result)
    return x if shape_of(x) == shape else emit(_op.broadcast_to(x, shape))


def _labels(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """Give one letter for each axis of each operand, and of the result."""
    equation = equation.replace(" ", "")
    sides = equation.split("->")
    terms = sides[0].split(",")
    if len(terms) != len(ranks) or len(sides) > 2:
        raise ValueError(f"its equation {equation!r} does not fit {len(ranks)} operands")
    spare = 0
    for at, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        free = rank - len(term.replace("...", ""))
        if free < 0 or (free and "..." not in term) or free > len(_FREE):
            raise ValueError(f"its equation {equation!r} does not fit an operand of {rank} axes")
        terms[at] = term.replace("...", _FREE[len(_FREE) - free :])
        spare = max(spare, free)
    axes = _FREE[len(_FREE) - spare :]
    if len(sides) == 2:
        result = sides[1].replace("...", axes)
        if len(set(result)) < len(result) or not set(result) <= set("".join(terms)):
            raise ValueError(f"its equation {equation!r} gives axes twice, or that no operand has")
        return terms, result
    letters = "".join(terms)
    once = sorted(c for c in set(letters) - set(_FREE) if letters.count(c) == 1)
    return terms, axes + "".join(once)


def _without_diagonals(x: relax.Expr, term: str) -> tuple[relax.Expr, str]:
    """Keep of axes of one name where their places are equal."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            first, second = term.index(label), term.rindex(label)
            rest = [i for i in range(len(term)) if i not in (first, second)]
            x = emit(_op.permute_dims(x, [first, second, *rest]))
            length, _, *others = shape_of(x)
            x = emit(_op.reshape(x, (length * length, *others)))
            places = relax.const(np.arange(length) * (length + 1), "int64")
            x = emit(take(x, places, 0))
            term = label + "".join(term[i] for i in rest)
    return x, term


def _summed(x: relax.Expr, term: str, needed: set[str]) -> tuple[relax.Expr, str]:
    """Sum over the axes that nothing else names."""
    gone = [i for i, label in enumerate(term) if label not in needed]
    if gone:
        x = emit(_op.sum(x, gone, False))
    return x, "".join(label for label in term if label in needed)


def _ordered(x: relax.Expr, term: str, wanted: list[str]) -> relax.Expr:
    order = [term.index(label) for label in wanted]
    return x if order == sorted(order) else emit(_op.permute_dims(x, order))


def _product(
    left: tuple[relax.Expr, str], right: tuple[relax.Expr, str], needed: set[str]
) -> tuple[relax.Expr, str]:
    """Multiply two operands: matmul over the axes that both have and nothing else needs."""
    (a, one), (b, two) = left, right
    summed = [label for label in one if label in two and label not in needed]
    shared = [label for label in one if label in two and label in needed]
    rows = [label for label in one if label not in two]
    columns = [label for label in two if label not in one]
    size = dict(zip(two, shape_of(b), strict=True))
    for label, length in zip(one, shape_of(a), strict=True):
        size[label] = max(length, size.get(label, 1))
    a = _ordered(_widened(a, one, summed, size), one, [*shared, *rows, *summed])
    b = _ordered(_widened(b, two, summed, size), two, [*shared, *summed, *columns])
    term = "".join([*shared, *rows, *columns])
    m, k, n = (prod(size[label] for label in part) for part in (rows, summed, columns))
    front_a, front_b = (shape_of(x)[: len(shared)] for x in (a, b))
    if not summed:
        a = emit(_op.reshape(a, (*shape_of(a), *(1 for _ in columns))))
        b = emit(_op.reshape(b, (*front_b, *(1 for _ in rows), *(size[c] for c in columns))))
        return emit(_op.multiply(a, b)), term
    a = emit(_op.reshape(a, (*front_a, m, k)))
    b = emit(_op.reshape(b, (*front_b, k, n)))
    y = emit(_op.matmul(a, b))
    return emit(_op.reshape(y, tuple(size[label] for label in term))), term


def _widened(x: relax.Expr, term: str, labels: list[str], size: dict[str, int]) -> relax.Expr:
    """Broadcast axes of one element that are summed with longer ones."""
    shape = [size[c] if c in labels else n for c, n in zip(term, shape_of(x), strict=True)]
    return x if tuple(shape) == shape_of(x) else emit(_op.broadcast_to(x, shape))


OWN = {"Einsum": einsum}
