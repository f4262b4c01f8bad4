"""Parsing of normalised LaTeX into sympy objects, with math-verify's grammar."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Basic, MatrixBase

DEEPEST = 24  # nested brackets


@lru_cache(maxsize=4096)
def parse(text: str) -> Basic | MatrixBase | None:
    """Parse normalised LaTeX into a sympy object; None if that fails.

    Letters are case-sensitive, adjacent numbers are rejected, and decimals are exact.
    """
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
    from math_verify.grader import should_treat_as_complex

    if not _readable(text):
        return None
    text = re.sub(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))", "", text)
    # The grammar reads \gamma^2-1 as the gamma function.
    text = re.sub(r"\\gamma(?![A-Za-z])\s*(?:_\s*(?:\{(\w+)\}|(\w)))?", r"y_{gamma\1\2}", text)
    # The grammar reads E as Euler's number, even with an index.
    text = re.sub(r"(?<![\\A-Za-z])E\s*_\s*(?:\{(\w+)\}|(\w))", r"U_{E\1\2}", text)
    try:
        text = normalize_latex(
            text,
            NormalizationConfig(
                basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
            ),
        )
        parsed = latex2sympy(
            text,
            is_real=not should_treat_as_complex(text),
            normalization_config=None,
            conversion_config=ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False),
        )
        return _tidied(parsed)
    except Exception as error:  # many types on a text that is not mathematics
        reraise_if_fatal(error)
        return None


_NEIGHBOURS = re.compile(
    r"(?<![\\A-Za-z_^{0-9.])[0-9.]+\s+[0-9.]|[0-9]\s*\\frac\s*\{[0-9]+\}\s*\{[0-9]+\}|[0-9]\s*_|\)\s*_|\.\s*\."
    # Braces around either make no difference, unless they hold an exponent or the argument of a command.
    r"|(?<![\\A-Za-z_^0-9.])[0-9][0-9.]*\s*\{\s*[0-9]|(?:^|[-+=(,*/{]|\\pi)\s*\{\s*[0-9.]+\s*\}\s*\{?\s*[0-9]"
)
_CHAIN = re.compile(r"(?:[-+]\s*){6}|(?:\^\s*\{?\s*\w+\s*){8}")
# Evaluated by the parser immediately, however large.
_EAGER = re.compile(
    r"\\[dt]?binom\s*(?:\{[^{}]*\}\s*)?\{[^{}]*(?:[0-9]{5}|[!^{])|\\(?:choose|gcd|lcm|bmod|pmod|mod|operatorname)(?=.*[!^])",
    re.DOTALL,
)


def _readable(text: str) -> bool:
    """Whether the parser reads a text correctly (not ``1 2``) and without evaluating huge numbers."""
    if not text or _NEIGHBOURS.search(text) or _CHAIN.search(text) or "\\text" in text or _nesting(text) > DEEPEST:
        return False
    return not _EAGER.search(text)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(character, 0)
        deepest = max(deepest, depth)
    return deepest


def _tidied(parsed: Basic | MatrixBase) -> Basic | MatrixBase:
    """Turn decimals into fractions, i into the imaginary unit, and f(x) into one symbol."""
    from sympy import Basic, Float, I, Rational, Symbol
    from sympy.core.function import AppliedUndef

    if not isinstance(parsed, Basic):
        return parsed
    changes: dict[Basic, Basic] = {number: Rational(str(number)) for number in parsed.atoms(Float)}
    # All symbols need the same assumption for x in one text to equal x in another.
    changes |= {old: I if old.name == "i" else Symbol(old.name, real=True) for old in parsed.atoms(Symbol)}
    tidied = parsed.xreplace(changes) if changes else parsed
    return tidied.xreplace({call: Symbol(str(call), real=True) for call in tidied.atoms(AppliedUndef)})


def reraise_if_fatal(error: Exception) -> None:
    """Re-raise errors that no answer causes: out of memory, or math-verify outside the main thread."""
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, ValueError) and "main thread" in str(error):
        raise error
