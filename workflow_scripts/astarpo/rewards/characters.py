"""Unicode characters and their LaTeX equivalents."""

from __future__ import annotations

import re

_CHARACTERS = {
    "\u00d7": r"\times ",
    "\u22c5": r"\cdot ",
    "\u00b7": r"\cdot ",
    "\u2219": r"\cdot ",
    "\u2217": "*",
    "\u00f7": "/",
    "\u2215": "/",
    "\u2044": "/",
    "\u03c0": r"\pi ",
    "\u221e": r"\infty ",
    "\u2264": r"\le ",
    "\u2265": r"\ge ",
    "\u2a7d": r"\le ",
    "\u2a7e": r"\ge ",
    "\u2260": r"\ne ",
    "\u2248": r"\approx ",
    "\u00b1": r"\pm ",
    "\u2213": r"\mp ",
    "\u222a": r"\cup ",
    "\u2229": r"\cap ",
    "\u2208": r"\in ",
    "\u2205": r"\emptyset ",
    "\u211d": r"\mathbb{R}",
    "\u2124": r"\mathbb{Z}",
    "\u2115": r"\mathbb{N}",
    "\u00b0": r"^\circ ",
    "\u2032": "'",
    "\u2019": "'",
    "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ",
    "\u03b3": r"\gamma ",
    "\u03b8": r"\theta ",
    "\u03bb": r"\lambda ",
    "\u03bc": r"\mu ",
    "\u03c9": r"\omega ",
    "\u03c6": r"\phi ",
    "\u03c3": r"\sigma ",
    "\u0394": r"\Delta ",
    "\u00bd": r"\frac{1}{2}",
    "\u2153": r"\frac{1}{3}",
    "\u2154": r"\frac{2}{3}",
    "\u00bc": r"\frac{1}{4}",
    "\u00be": r"\frac{3}{4}",
    "\u221b": r"\sqrt[3]",
    "\u221a": r"\sqrt",
    "\u3001": ",",
    "\u2026": "...",
    "\u27e8": r"\langle ",
    "\u27e9": r"\rangle ",
}
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUBSCRIPTS = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")


def characters(text: str) -> str:
    r"""Convert signs and Greek letters to LaTeX commands, superscripts to powers and subscripts to indices."""
    text = re.sub(
        "[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+",
        lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}",
        text,
    )
    text = re.sub("[\u2080-\u2089]+", lambda m: f"_{{{m[0].translate(_SUBSCRIPTS)}}}", text)
    return "".join(_CHARACTERS.get(character, character) for character in text)
