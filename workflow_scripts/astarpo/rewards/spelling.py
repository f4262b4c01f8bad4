r"""One spelling of mathematics: program text, Unicode and LaTeX's variants become LaTeX that math-verify reads.

Gold answers and responses go through the same steps, in the order of `STEPS`. No step changes a value, and none
makes a value of what is none: ``1 2`` stays two numbers next to each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from astarpo.rewards.markup import closing, unwrap

# Functions as program text writes them.
FUNCTIONS = (
    "arcsin",
    "arccos",
    "arctan",
    "arcsinh",
    "arccosh",
    "arctanh",
    "sinh",
    "cosh",
    "tanh",
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
    "log",
    "ln",
    "exp",
    "sqrt",
)
_NAMES = "|".join(FUNCTIONS)
_GREEK = "pi|theta|alpha|beta|gamma|lambda|omega|infty|infinity"
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


_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")


def spell(text: str) -> str:
    r"""Write an answer in the one spelling; what ``\text{}`` holds stays as it is.

    Args:
        text: an answer, without its box.

    Returns:
        LaTeX of the same meaning.
    """
    text = unwrap(text)
    if "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    for step in STEPS:
        text = step(text)
    return text.strip()


def _characters(text: str) -> str:
    text = re.sub(
        "[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+",
        lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}",
        text,
    )
    text = re.sub("[\u2080-\u2089]+", lambda m: f"_{{{m[0].translate(_SUBSCRIPTS)}}}", text)
    return "".join(_CHARACTERS.get(one, one) for one in text)


_SIZES = re.compile(r"\\(?:left|right|middle)(?![A-Za-z])\s*\.|\\(?:left|right|[bB]igg?[lrm]?|middle)(?![A-Za-z])\s*")
_EMPTY = re.compile(r"\\(?:displaystyle|textstyle|limits|nolimits|hfill|null|[hv]?phantom\s*\{[^{}]*\})(?![A-Za-z])")
_SPACES = re.compile(
    r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])|&nbsp;|\\thinspace(?![A-Za-z])|\\hspace\*?\s*\{[^{}]*\}|\s+"
)
_BRACKET_NAMES = {r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[", r"\rbrack": "]"}
_VARIANTS = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:leqslant|leqq|leq)(?![A-Za-z])|<=|=<"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geqq|geq)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\neq(?![A-Za-z])|(?<![0-9)!])\s!=(?!=)"), r"\\ne "),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:sfrac|nicefrac)(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\ast(?![A-Za-z])"), "*"),
    (re.compile(r"\\l?dots(?![A-Za-z])|\\cdots(?![A-Za-z])"), "..."),
    (re.compile(r"\\(?:mathbb|mathbf)\s*\{?\s*R(?![A-Za-z])\s*\}?(?!\s*\^)"), r"\\mathbb{R}"),
    (re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])"), r"\\cup "),
    (re.compile(r"(?<=\\mathbb\{R\})\s*-\s*(?=\\\{)"), r"\\setminus "),
    (re.compile(r"\\(?:varnothing|empty)(?![A-Za-z])"), r"\\emptyset"),
    (re.compile(r"\\(?:lbrace|lbrack|lvert|rvert|rbrace|rbrack)(?![A-Za-z])"), lambda m: _BRACKET_NAMES.get(m[0], "|")),
    (re.compile(r"\\(?:Reals|R)(?![A-Za-z])"), r"\\mathbb{R}"),
    (re.compile(r"\\(?:simeq|thickapprox|doteq)(?![A-Za-z])"), r"\\approx "),
    (re.compile(r"(?<![A-Za-z])(?:np|numpy|math|sympy|sp)\."), ""),
    (re.compile(r"(?<!\\)\$"), ""),
)


def _variants(text: str) -> str:
    text = _EMPTY.sub("", _SIZES.sub(" ", text)).replace("\\!", "")
    text = _SPACES.sub(" ", text)
    for pattern, wanted in _VARIANTS:
        text = pattern.sub(wanted, text)
    return text


_FONT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|textnormal|textup|mbox|hbox|mathrm|mathbf|mathit|mathsf|mathtt|boldsymbol"
    r"|bm|emph|underline|operatorname|bold)\*?\s*\{(?P<inside>[^{}]*)\}"
)
_COLOUR = re.compile(r"\\(?:textcolor|color)\s*\{[^{}]*\}\s*(?:\{(?P<inside>[^{}]*)\})?")


def _fonts(text: str) -> str:
    r"""Numbers and names lose their font; words, and letters that may be units, end in ``\text{}``."""
    text = _COLOUR.sub(lambda m: m["inside"] or "", text)
    for _ in range(3):  # fonts within fonts
        text = _FONT.sub(_without_font, text)
    return text


def _without_font(match: re.Match[str]) -> str:
    inside = match["inside"].strip()
    if re.fullmatch(r"[-+]?[0-9.,]+", inside):
        return inside
    if inside in FUNCTIONS:
        return f"\\{inside} "
    if inside in ("lcm", "gcd"):
        return f"\\operatorname{{{inside}}}"
    if match[0].startswith(r"\operatorname") or inside in ("i", "e"):
        return inside
    return f"\\text{{{match['inside']}}}" if inside else " "


def _over(text: str) -> str:
    r"""``{1 \over 2}`` is ``\frac{1}{2}``."""
    for _ in range(8):
        place = re.search(r"\\over(?![A-Za-z])", text)
        if place is None:
            return text
        left, depth = place.start(), 0
        while left > 0 and not (text[left - 1] == "{" and depth == 0):
            left -= 1
            depth += {"}": 1, "{": -1}.get(text[left], 0)
        end = closing(text, place.end()) if left > 0 else len(text)
        if end is None:
            return text
        upper, lower = text[left : place.start()], text[place.end() : end]
        text = f"{text[:left]}\\frac{{{upper.strip()}}}{{{lower.strip()}}}{text[end:]}"
    return text


_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SCIENTIFIC = re.compile(rf"(?<![A-Za-z0-9._\\{{^])({_NUMBER})[eE]([-+]?[0-9]{{1,4}})(?![0-9A-Za-z._])")
_TIMES_TEN = re.compile(r"(?<=[0-9])\s*[xX]\s*(?=10\s*(?:\^|\*\*))")
_POWER = re.compile(r"\*\*\s*|\^\s*(?=[-+(])")
_CALL = re.compile(rf"(?<![\\A-Za-z])({_NAMES})(?=\s*[({{\\]|\s[0-9a-z])")
_ROOT = re.compile(r"\\sqrt\s*(\[[^\]]*\])?\s*\(")
_STAR = re.compile(r"\s*\*\s*")


def _program_text(text: str) -> str:
    r"""``4.5e33``, ``x**2``, ``e^-x``, ``sqrt(2)``, ``pi/2``."""
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
    """What follows ``**``, or stands in round brackets behind ``^``, is the whole exponent."""
    text = _POWER.sub("^\x01", text)
    text = re.sub(rf"\x01\s*([-+]?\s*(?:{_NUMBER}|\\?[A-Za-z]+))", r"{\1}", text)
    text = re.sub(r"\x01\s*([-+])\s*\(", "\x01(\\1(", text) if "\x01-(" in text or "\x01+(" in text else text
    return _braced(text.replace("\x01(", "\x01"), "\x01").replace("\x01", "")


def _braced(text: str, mark: str) -> str:
    """Turn each mark into an open brace, and the round bracket that closes what follows into a closing one."""
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


_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,20})\.([0-9]{0,20})(?:\\(?:overline|bar|dot)\s*\{([0-9]+)\}|\\(?:bar|dot)\s*([0-9])|\(([0-9]+)\))(?![0-9])"
)

# A digit three times before the dots.
_ELLIPSIS = re.compile(r"(?<![0-9.])([0-9]{0,20})\.([0-9]{0,20}?)([0-9])\3{2,20}\s?\.\.\.(?![0-9.])")


def _repeating_decimals(text: str) -> str:
    r"""``0.1\overline{6}`` is ``(16-1)/90``, and so is ``0.1666...``; ``0.16...`` is nothing."""

    def fraction(match: re.Match[str]) -> str:
        whole, head = match[1] or "0", match[2]
        tail = next(one for one in match.groups()[2:] if one)
        top = int(whole + head + tail) - int(whole + head)
        return f"\\frac{{{top}}}{{{'9' * len(tail) + '0' * len(head)}}}"

    return _ELLIPSIS.sub(fraction, _REPEATING.sub(fraction, text))


_LOOSE_FRACTION = re.compile(r"\\frac\s*(?:([0-9A-Za-z])\s*([0-9A-Za-z])|([0-9A-Za-z])\s*(?=\{))")
_HALF_LOOSE = re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])")
_MIXED = re.compile(
    r"(?<![0-9A-Za-z.,_^}\\/])(?<![0-9A-Za-z)}/] )([0-9]+)\s*"
    r"(?:\\frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}|(?<=[0-9])\s([0-9]+)\s?/\s?([0-9]+))(?![0-9.!^])"
)


def _fractions(text: str) -> str:
    r"""``\frac12`` is ``\frac{1}{2}``, and ``1\frac12`` or ``1 1/2`` the sum; ``4 10/3`` is not a mixed number."""
    text = _LOOSE_FRACTION.sub(lambda m: f"\\frac{{{m[1]}}}{{{m[2]}}}" if m[1] else f"\\frac{{{m[3]}}}", text)
    text = _HALF_LOOSE.sub(r"\1{\2}", text)

    def mixed(match: re.Match[str]) -> str:
        top, bottom = match[2] or match[4], match[3] or match[5]
        if len(bottom) > 12 or not 0 < int(top) < int(bottom):
            return match[0]
        return f"({match[1]}+\\frac{{{top}}}{{{bottom}}})"

    return _MIXED.sub(mixed, text)


_LONE_POINT = re.compile(r"(?<=[0-9])\.(?![0-9.])(?=\s*[-+*/)},\\^]|$)")
_PRIME = re.compile(r"(?<=[A-Za-z])(?:\s?'+|\s?\^\s?\{\s?(?:\\prime\s*)+\}|\s?\^\s?\\prime(?![A-Za-z]))")
_PRODUCT = re.compile(
    r"(?<![0-9A-Za-z._^\\}])([0-9]+(?:\.[0-9]+)?)\s*(?=\((?![^()]*\)_)|\\[dt]?binom(?![A-Za-z])|\\frac\s*\{(?![0-9]+\}\s*\{[0-9]+\}))"
)


_COMMAND_BELOW = re.compile(r"_\s*\{\s*\\(?:text\s*\{\s*(\w+)\s*\}|(odot|oplus|max|min|infty|prime|ast)\s*)\s*\}")


def _subscripts(text: str) -> str:
    r"""``L_{\odot}`` and ``v_{\text{max}}`` are names that the parser reads without the command."""
    return _COMMAND_BELOW.sub(lambda m: f"_{{{m[1] or m[2]}}}", text)


_BRACKETS = re.compile(r"\)\s*(?=\(|[0-9]|\\frac)")


def _products(text: str) -> str:
    """``2(3)`` is a product; primes belong to the name; ``1.`` is 1."""
    text = _LONE_POINT.sub("", text)
    text = _PRIME.sub(lambda m: "_{" + "p" * max(1, m[0].count("'") + m[0].count("prime")) + "}", text)
    return _BRACKETS.sub(r")\\cdot ", _PRODUCT.sub(r"\1\\cdot ", text))


_REVERSED = re.compile(r"(?P<left>[\[\]])(?P<inside>[^\[\](),]{0,200},[^\[\](),]{0,200})(?P<right>[\[\]])")


def _reversed_brackets(text: str) -> str:
    """``]0,1[`` is ``(0,1)``, and ``[0,1[`` is ``[0,1)``; in a text that such a bracket begins or ends."""
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
    _characters,
    _variants,
    _fonts,
    _over,
    _repeating_decimals,
    _fractions,
    _subscripts,
    _outside_of_words(_program_text),
    _products,
    _reversed_brackets,
)
