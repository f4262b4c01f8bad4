r"""Whether two values or expressions are equal: parsed by math-verify, compared by sympy.

Numbers: exact if both are rational; otherwise to `DIGITS` significant digits, whatever their size, so that neither
2^1024 nor 10^-320 is lost in a double. If one is a decimal, they may differ by rounding: they must agree to
math-verify's six decimals and relative to their size (`CLOSE`), so that no small number equals 0. Functions: equal if
they agree at positive and negative points; math-verify compares what has no value at points. Powers and factorials
too large to write down are never evaluated.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from astarpo.rewards.magnitude import bits, too_large
from astarpo.rewards.parsing import parse, reraise_if_fatal

if TYPE_CHECKING:
    from sympy import Basic, Expr, MatrixBase

DIGITS = 40
DECIMALS = 6
CLOSE = 2e-5  # relative; 1/30 and 0.033333 differ by half of it
POINTS = (0.7390851, 2.3571113, 1.1931723, 3.7433291, 0.3183099, -0.8414709, -2.6651441, -1.7724538)

_PLAIN = re.compile(r"(?P<sign>[-+]?)\s*(?P<whole>[0-9]{0,2000})(?:\.(?P<decimals>[0-9]{0,2000}))?")
_RATIO = re.compile(
    r"([-+]?)\s*(?:\\frac\{\s*(-?[0-9]{1,2000})\s*\}\{\s*([0-9]{1,2000})\s*\}|([0-9]{1,2000})\s*/\s*([0-9]{1,2000}))"
)


def plain_number(text: str) -> Fraction | None:
    r"""Read an integer, a decimal or a fraction of integers (``\frac{1}{2}``, ``1/2``); None for anything else."""
    match = _PLAIN.fullmatch(text)
    if match is not None and (match["whole"] or match["decimals"]):
        number = Fraction(f"{match['whole'] or 0}.{match['decimals'] or 0}")
        return -number if match["sign"] == "-" else number
    match = _RATIO.fullmatch(text)
    if match is None or not int(match[3] or match[5]):
        return None
    number = Fraction(int(match[2] or match[4]), int(match[3] or match[5]))
    return -number if match[1] == "-" else number


def is_decimal(text: str) -> bool:
    """Whether a value is written with decimals, so that it may be rounded."""
    return bool(
        re.fullmatch(
            r"[-+]?\s*\(?[0-9]*\.[0-9]+(?:\s*\\(?:cdot|times)\s*10\s*\^\s*\{[-+]?[0-9]+\})?\)?",
            text,
        )
    )


def equal_numbers(gold: str, answer: str, factor: Fraction | int = 1) -> bool | None:
    """Compare two plain numbers; None if either is not one."""
    first, second = plain_number(gold), plain_number(answer)
    if first is None or second is None:
        return None
    return _equal_rationals(first, second * Fraction(factor), is_decimal(gold) or is_decimal(answer))


def same_value(gold: str, answer: str, factor: Fraction | int = 1) -> bool:
    """Whether two expressions are equal.

    Args:
        gold, answer: normalised LaTeX.
        factor: multiplier of the answer, a power of ten.
    """
    quick = equal_numbers(gold, answer, factor)
    if quick is not None:
        return quick
    if factor == 1 and _squeezed(gold) == _squeezed(answer) != "":
        return True
    right, given = parse(gold), parse(answer)
    if right is None or given is None:
        return False
    return _same_object(
        right,
        given if factor == 1 else _scaled(given, factor),
        is_decimal(gold) or is_decimal(answer),
    )


def _squeezed(text: str) -> str:
    """Remove blanks, except those that separate two numbers."""
    return re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", text)


def _scaled(value: Basic | MatrixBase, factor: Fraction | int) -> Expr:
    from sympy import Mul, Rational

    return Mul(value, Rational(factor), evaluate=False)


def _same_object(right: Basic | MatrixBase, given: Basic | MatrixBase, rounded: bool) -> bool:
    from sympy import Expr, MatrixBase

    if isinstance(right, Expr) and isinstance(given, Expr) and not isinstance(right, MatrixBase):
        if right == given:
            return not right.has(*_undefined())
        if too_large(right) or too_large(given):
            return False
        if right.free_symbols or given.free_symbols:
            return _same_function(right, given)
        return _same_number(right, given, rounded)
    return left_to_math_verify(right, given)


def _undefined() -> tuple[Expr, ...]:
    from sympy import nan, zoo

    return nan, zoo


def left_to_math_verify(right: Basic | MatrixBase | None, given: Basic | MatrixBase | None) -> bool:
    """Whether two sympy objects are equal by math-verify: sets, relations, functions without values at points."""
    from math_verify import verify

    if too_large(right) or too_large(given):
        return bool(right == given)
    try:
        return bool(
            verify(
                right,
                given,
                timeout_seconds=None,
                allow_set_relation_comp=True,
                raise_on_error=True,
            )
        )
    except MemoryError:
        raise
    except Exception as error:  # objects that cannot be compared are not equal
        reraise_if_fatal(error)
        return False


# Numbers


def _equal_rationals(first: Fraction, second: Fraction, rounded: bool) -> bool:
    if first == second:
        return True
    gap, size = abs(first - second), max(abs(first), abs(second))
    return rounded and round(first, DECIMALS) == round(second, DECIMALS) and gap <= Fraction(CLOSE) * size


def _same_number(right: Expr, given: Expr, rounded: bool) -> bool:
    from sympy import Rational, simplify

    first, second = right.doit(), given.doit()
    if isinstance(first, Rational) and isinstance(second, Rational):
        return _equal_rationals(Fraction(int(first.p), int(first.q)), Fraction(int(second.p), int(second.q)), rounded)
    one, other = first.evalf(15), second.evalf(15)
    if not (one.is_number and other.is_number and one.is_finite and other.is_finite):
        return bool(first == second) and not first.has(*_undefined())
    if not near(one, other, 1e-4):
        return False
    # Enough digits to include the last one before the point.
    digits = DIGITS + min(20_000, max(0, int(bits(first) / 3)))
    one, other = first.evalf(digits), second.evalf(digits)
    if near(one, other, 10.0 ** -(DIGITS - 10)) and digits < 300:
        return True
    if near(one, other, 10.0 ** -(DIGITS - 10)):
        return bool(simplify(first - second) == 0)
    if not rounded:
        return False
    return bool(near(one, other, CLOSE) and abs(one - other) <= 10**-DECIMALS / 2)


def near(one: Expr, other: Expr, tolerance: float) -> bool:
    """Whether two sympy numbers differ by at most `tolerance` relative to the larger one."""
    return bool(abs(one - other) <= tolerance * max(abs(one), abs(other)))


# Expressions with symbols


def _same_function(right: Expr, given: Expr) -> bool:
    names = sorted({symbol.name for symbol in right.free_symbols | given.free_symbols})
    if len(names) > 12:
        return False
    agreed = 0
    for point in range(len(POINTS)):
        values = {
            name: POINTS[(point + 3 * place) % 5 if point < 5 else (point + place) % len(POINTS)]
            for place, name in enumerate(names)
        }
        first, second = _value_at(right, values), _value_at(given, values)
        if first is None or second is None:
            continue
        if not near(first, second, 1e-12) and abs(first - second) > 1e-25:
            return False
        agreed += 1
    return agreed >= 5 or (agreed in (0, 3, 4) and left_to_math_verify(right, given))


def _value_at(expression: Expr, values: dict[str, float]) -> Expr | None:
    """The value of an expression at a point; None without one, or with a root or logarithm of a negative number."""
    from sympy import Pow, Rational, log

    places = {symbol: Rational(str(values[symbol.name])) for symbol in expression.free_symbols}
    try:
        for inner in expression.atoms(Pow, log):
            fractional = isinstance(inner, log) or not inner.exp.is_integer
            if fractional and inner.args[0].free_symbols and bool(inner.args[0].subs(places).evalf(15) < 0):
                return None
        value = expression.subs(places).doit().evalf(30)
        return value if value.is_number and value.is_finite else None
    except MemoryError:
        raise
    except Exception:  # no value there
        return None
