"""How large a number would be, found without evaluating it: 2^(3^(4^5)) must not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import inf, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Basic, Expr, MatrixBase

LARGEST_BITS = 2**20  # of a number that is evaluated
MOST_TERMS = 1000  # of a sum or product that is evaluated


def too_large(expression: Basic | MatrixBase | None) -> bool:
    """Whether evaluating would take numbers of more than `LARGEST_BITS` bits; found without evaluating."""
    from sympy import Basic

    if not isinstance(expression, Basic):
        return any(too_large(one) for one in _entries(expression))
    return any(bits(one) > LARGEST_BITS for one in _growing(expression))


def _entries(expression: MatrixBase) -> list[Expr]:
    return list(expression.flat()) if hasattr(expression, "flat") else []


def _growing(expression: Basic) -> Iterator[Expr]:
    from sympy import Expr, preorder_traversal

    return (one for one in preorder_traversal(expression) if isinstance(one, Expr))


@lru_cache(maxsize=8192)
def bits(expression: Basic) -> float:
    """A bound on the size of the base-2 logarithm of a number; of a power of a symbol, on the exponent."""
    from sympy import Add, Float, Function, Mul, Pow, Product, Rational, Sum, exp, gamma
    from sympy.functions.combinatorial.factorials import CombinatorialFunction

    if isinstance(expression, Rational):
        return max(1.0, log2(abs(int(expression.p)) or 1), log2(int(expression.q)))
    if isinstance(expression, Float):
        return abs(log2(abs(float(expression)) or 1.0))
    if isinstance(expression, Sum | Product):
        return inf if any(_terms(*limit.args) > MOST_TERMS for limit in expression.args[1:]) else 1.0
    inner = [bits(one) for one in expression.args]
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
    """The absolute value of a number, infinite where that itself is large; of what has symbols, a bound."""
    if bits(exponent) > 60:
        return inf
    value = exponent.evalf(5)
    return float(abs(value)) if value.is_number and value.is_finite else 2.0 ** bits(exponent)


def _terms(_: Basic, lower: Expr = 0, upper: Expr = 0) -> float:
    """How many terms there are between two limits; none to add one by one where a limit is a symbol or infinite."""
    if bits(lower) > 60 or bits(upper) > 60:
        return inf
    count = (upper - lower).evalf(15)
    return float(count) if count.is_number and count.is_finite else 0.0
