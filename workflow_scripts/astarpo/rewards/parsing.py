"""LaTeX in the one spelling as an object of sympy, by math-verify's grammar."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Basic, MatrixBase

DEEPEST = 24  # brackets within brackets


@lru_cache(maxsize=4096)
def parse(text: str) -> Basic | MatrixBase | None:
    """Read LaTeX in the one spelling as a sympy object; None where it cannot be read.

    Capital and small letters differ, a number next to a number is not a sum, and decimals are exact.
    """
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
    from math_verify.grader import should_treat_as_complex

    if not _readable(text):
        return None
    text = re.sub(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))", "", text)
    # The grammar makes \gamma^2-1 a value of the gamma function.
    text = re.sub(r"\\gamma(?![A-Za-z])\s*(?:_\s*(?:\{(\w+)\}|(\w)))?", r"y_{gamma\1\2}", text)
    # E is Euler's number to the grammar, even with an index.
    text = re.sub(r"(?<![\\A-Za-z])E\s*_\s*(?:\{(\w+)\}|(\w))", r"U_{E\1\2}", text)
    try:
        text = normalize_latex(
            text,
            NormalizationConfig(
                basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
            ),
        )
        read = latex2sympy(
            text,
            is_real=not should_treat_as_complex(text),
            normalization_config=None,
            conversion_config=ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False),
        )
        return _tidied(read)
    except Exception as error:  # a dozen kinds at a text that is not mathematics
        refuse_threads(error)
        return None


_NEIGHBOURS = re.compile(
    r"(?<![\\A-Za-z_^{0-9.])[0-9.]+\s+[0-9.]|[0-9]\s*\\frac\s*\{[0-9]+\}\s*\{[0-9]+\}|[0-9]\s*_|\)\s*_|\.\s*\."
    # A brace around one of them makes no difference, unless it holds the exponent or the argument of a command.
    r"|(?<![\\A-Za-z_^0-9.])[0-9][0-9.]*\s*\{\s*[0-9]|(?:^|[-+=(,*/{]|\\pi)\s*\{\s*[0-9.]+\s*\}\s*\{?\s*[0-9]"
)
_CHAIN = re.compile(r"(?:[-+]\s*){6}|(?:\^\s*\{?\s*\w+\s*){8}")
# What the parser evaluates at once, however large.
_EAGER = re.compile(
    r"\\[dt]?binom\s*(?:\{[^{}]*\}\s*)?\{[^{}]*(?:[0-9]{5}|[!^{])|\\(?:choose|gcd|lcm|bmod|pmod|mod|operatorname)(?=.*[!^])",
    re.DOTALL,
)


def _readable(text: str) -> bool:
    """Not what the parser would make another value of, ``1 2`` for one, or evaluate however large it is."""
    if not text or _NEIGHBOURS.search(text) or _CHAIN.search(text) or "\\text" in text or _nesting(text) > DEEPEST:
        return False
    return not _EAGER.search(text)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for one in text:
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(one, 0)
        deepest = max(deepest, depth)
    return deepest


def _tidied(read: Basic | MatrixBase) -> Basic | MatrixBase:
    """Decimals as fractions, i as the imaginary unit, f(x) as one symbol."""
    from sympy import Basic, Float, I, Rational, Symbol
    from sympy.core.function import AppliedUndef

    if not isinstance(read, Basic):
        return read
    changes: dict[Basic, Basic] = {one: Rational(str(one)) for one in read.atoms(Float)}
    # With one assumption for all, or x of one text would not be x of another.
    changes |= {one: I if one.name == "i" else Symbol(one.name, real=True) for one in read.atoms(Symbol)}
    tidied = read.xreplace(changes) if changes else read
    return tidied.xreplace({one: Symbol(str(one), real=True) for one in tidied.atoms(AppliedUndef)})


def refuse_threads(error: Exception) -> None:
    """Let those errors through that no answer causes: a full memory, math-verify outside the main thread."""
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, ValueError) and "main thread" in str(error):
        raise error
