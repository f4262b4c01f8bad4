"""Bounds on numbers without evaluating them: 2^(3^(4^5)) must not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import inf, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Basic, Expr, MatrixBase

LARGEST_BITS = 2**20  # of numbers that are evaluated
MOST_TERMS = 1000  # of sums and products that are evaluated


def too_large(expression: Basic | MatrixBase | None) -> bool:
    """Whether evaluation would need numbers of more than `LARGEST_BITS` bits."""
    from sympy import Basic

    if not isinstance(expression, Basic):
        return any(too_large(entry) for entry in _entries(expression))
    return any(bits(node) > LARGEST_BITS for node in _growing(expression))


def _entries(expression: MatrixBase) -> list[Expr]:
    return list(expression.flat()) if hasattr(expression, "flat") else []


def _growing(expression: Basic) -> Iterator[Expr]:
    from sympy import Expr, preorder_traversal

    return (node for node in preorder_traversal(expression) if isinstance(node, Expr))


@lru_cache(maxsize=8192)
def bits(expression: Basic) -> float:
    """A bound on the absolute base-2 logarithm of a number; for a power of a symbol, on the exponent."""
    from sympy import Add, Float, Function, Mul, Pow, Product, Rational, Sum, exp, gamma
    from sympy.functions.combinatorial.factorials import CombinatorialFunction

    if isinstance(expression, Rational):
        return max(1.0, log2(abs(int(expression.p)) or 1), log2(int(expression.q)))
    if isinstance(expression, Float):
        return abs(log2(abs(float(expression)) or 1.0))
    if isinstance(expression, Sum | Product):
        return inf if any(_terms(*limit.args) > MOST_TERMS for limit in expression.args[1:]) else 1.0
    inner = [bits(argument) for argument in expression.args]
    if isinstance(expression, Pow | exp):
        base, exponent = (inner[0], inner[1]) if isinstance(expression, Pow) else (1.5, inner[0])
        factor = 30.0 if expression.free_symbols else 1.0
        return max(1.0, base) * factor * _size(expression.args[-1]) + exponent
    if isinstance(expression, CombinatorialFunction | gamma):
        return _size(expression.args[0]) * inner[0]
    if isinstance(expression, Mul | Add):
        return sum(inner)
    if isinstance(expression, Function):
        return max([2.0, *inner])
    return max([1.0, *inner])


def _size(exponent: Expr) -> float:
    """The absolute value of a number, infinite if it is large; a bound if there are symbols."""
    if bits(exponent) > 60:
        return inf
    value = exponent.evalf(5)
    return float(abs(value)) if value.is_number and value.is_finite else 2.0 ** bits(exponent)


def _terms(_: Basic, lower: Expr = 0, upper: Expr = 0) -> float:
    """The number of terms between two limits; 0 if a limit is symbolic or infinite."""
    if bits(lower) > 60 or bits(upper) > 60:
        return inf
    count = (upper - lower).evalf(15)
    return float(count) if count.is_number and count.is_finite else 0.0
