"""Conversion of program text to LaTeX."""

from __future__ import annotations

import re

from astarpo.rewards.functions import FUNCTIONS

_NAMES = "|".join(FUNCTIONS)
_GREEK = "pi|theta|alpha|beta|gamma|lambda|omega|infty|infinity"
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SCIENTIFIC = re.compile(rf"(?<![A-Za-z0-9._\\{{^])({_NUMBER})[eE]([-+]?[0-9]{{1,4}})(?![0-9A-Za-z._])")
_TIMES_TEN = re.compile(r"(?<=[0-9])\s*[xX]\s*(?=10\s*(?:\^|\*\*))")
_POWER = re.compile(r"\*\*\s*|\^\s*(?=[-+(])")
_CALL = re.compile(rf"(?<![\\A-Za-z])({_NAMES})(?=\s*[({{\\]|\s[0-9a-z])")
_ROOT = re.compile(r"\\sqrt\s*(\[[^\]]*\])?\s*\(")
_STAR = re.compile(r"\s*\*\s*")


def program_text_as_latex(text: str) -> str:
    r"""Convert program text (``4.5e33``, ``x**2``, ``e^-x``, ``sqrt(2)``, ``pi/2``) to LaTeX."""
    text = _SCIENTIFIC.sub(lambda m: f"({m[1]}\\cdot 10^{{{int(m[2])}}})", text)
    text = _TIMES_TEN.sub(r"\\times ", text)
    text = _CALL.sub(r"\\\1 ", text)
    text = re.sub(
        rf"(?<![\\A-Za-z])({_GREEK})(?![A-Za-z])",
        lambda m: "\\" + m[1].replace("infinity", "infty"),
        text,
    )
    text = _powers(text)
    text = _braced(_ROOT.sub("\\\\sqrt\\1\x00", text), "\x00")
    return _STAR.sub(r"\\cdot ", text)


def _powers(text: str) -> str:
    """Put braces around the operand of ``**`` and around an exponent in round brackets after ``^``."""
    text = _POWER.sub("^\x01", text)
    text = re.sub(rf"\x01\s*([-+]?\s*(?:{_NUMBER}|\\?[A-Za-z]+))", r"{\1}", text)
    text = re.sub(r"\x01\s*([-+])\s*\(", "\x01(\\1(", text) if "\x01-(" in text or "\x01+(" in text else text
    return _braced(text.replace("\x01(", "\x01"), "\x01").replace("\x01", "")


def _braced(text: str, mark: str) -> str:
    """Replace each mark with an opening brace, and the round bracket that closes it with a closing one."""
    for _ in range(40):
        start = text.find(mark)
        if start < 0:
            return text
        depth, end = 1, start + 1
        while end < len(text):
            depth += {"(": 1, ")": -1, mark: 1}.get(text[end], 0)
            if depth == 0:
                break
            end += 1
        text = f"{text[:start]}{{{text[start + 1 : end]}}}{text[end + 1 :]}"
    return text
