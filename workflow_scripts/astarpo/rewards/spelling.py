r"""Normalisation of mathematics: program text, Unicode and LaTeX variants become LaTeX that math-verify reads.

Gold answers and responses go through the same steps, in the order of `STEPS`. No step changes a value or
creates one: ``1 2`` stays two adjacent numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from astarpo.rewards.characters import characters
from astarpo.rewards.latex_commands import one_command_each, over_as_fraction, without_fonts
from astarpo.rewards.latex_fractions import braced_fractions, repeating_decimals_as_fractions
from astarpo.rewards.markup import unwrap
from astarpo.rewards.program_text import program_text_as_latex

_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_LONE_POINT = re.compile(r"(?<=[0-9])\.(?![0-9.])(?=\s*[-+*/)},\\^]|$)")
_PRIME = re.compile(r"(?<=[A-Za-z])(?:\s?'+|\s?\^\s?\{\s?(?:\\prime\s*)+\}|\s?\^\s?\\prime(?![A-Za-z]))")
_PRODUCT = re.compile(
    r"(?<![0-9A-Za-z._^\\}])([0-9]+(?:\.[0-9]+)?)\s*(?=\((?![^()]*\)_)|\\[dt]?binom(?![A-Za-z])|\\frac\s*\{(?![0-9]+\}\s*\{[0-9]+\}))"
)
_COMMAND_BELOW = re.compile(r"_\s*\{\s*\\(?:text\s*\{\s*(\w+)\s*\}|(odot|oplus|max|min|infty|prime|ast)\s*)\s*\}")


def _subscripts(text: str) -> str:
    r"""Remove commands from indices: the parser reads ``L_{\odot}`` and ``v_{\text{max}}`` only without them."""
    return _COMMAND_BELOW.sub(lambda m: f"_{{{m[1] or m[2]}}}", text)


_BRACKETS = re.compile(r"\)\s*(?=\(|[0-9]|\\frac)")


def _products(text: str) -> str:
    """Rewrite ``2(3)`` as a product, a prime as part of the name, and ``1.`` as 1."""
    text = _LONE_POINT.sub("", text)
    text = _PRIME.sub(lambda m: "_{" + "p" * max(1, m[0].count("'") + m[0].count("prime")) + "}", text)
    return _BRACKETS.sub(r")\\cdot ", _PRODUCT.sub(r"\1\\cdot ", text))


_REVERSED = re.compile(r"(?P<left>[\[\]])(?P<inside>[^\[\](),]{0,200},[^\[\](),]{0,200})(?P<right>[\[\]])")


def _reversed_brackets(text: str) -> str:
    """Rewrite ``]0,1[`` as ``(0,1)``, and ``[0,1[`` as ``[0,1)``, if a reversed bracket begins or ends the text."""
    if not (text.startswith("]") or text.endswith("[")):
        return text
    return _REVERSED.sub(
        lambda m: ("(" if m["left"] == "]" else "[") + m["inside"] + (")" if m["right"] == "[" else "]"),
        text,
    )


def _outside_of_words(step: Callable[[str], str]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        pieces = re.split(r"(\\text\{[^{}]*\})", text)
        return "".join(piece if number % 2 else step(piece) for number, piece in enumerate(pieces))

    return changed


STEPS: tuple[Callable[[str], str], ...] = (
    characters,
    one_command_each,
    without_fonts,
    over_as_fraction,
    repeating_decimals_as_fractions,
    braced_fractions,
    _subscripts,
    _outside_of_words(program_text_as_latex),
    _products,
    _reversed_brackets,
)


def spell(text: str) -> str:
    r"""Normalise an answer; the content of ``\text{}`` is unchanged.

    Args:
        text: an answer without its box.

    Returns:
        Equivalent LaTeX.
    """
    text = unwrap(text)
    if "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    for step in STEPS:
        text = step(text)
    return text.strip()
