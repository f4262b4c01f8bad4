r"""Markup that never changes a value: dollars, fonts, colours, emphasis, thousands separators."""

from __future__ import annotations

import re

LONGEST = 10_000  # characters; a longer text is not an answer
DEEPEST = 12  # layers of markup to remove; more could take quadratic time

_FONTS = (
    r"text|textbf|textit|textrm|textsf|texttt|textnormal|textup|emph|mbox|hbox|underline|boldsymbol|pmb|bm"
    r"|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|operatorname|ensuremath|fbox|boxed|uline"
)
_OPENING_COMMAND = re.compile(rf"\\(?:(?:{_FONTS})\s*|textcolor\s*\{{[^{{}}]*\}}\s*|color\s*\{{[^{{}}]*\}}\s*)\{{|\{{")
_SWITCH = re.compile(
    r"\\(?:color\s*\{[^{}]*\}|(?:displaystyle|textstyle|bf|bfseries|rm|it|Large|large|huge|Huge)(?![A-Za-z]))\s*"
)
_PAIRS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("***", "***"),
    ("**", "**"),
    ("*", "*"),
    ("___", "___"),
    ("__", "__"),
    ("_", "_"),
    ("`", "`"),
)
_SPACE = r"(?:\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\s)"
_SPACE_AT_THE_ENDS = re.compile(rf"^{_SPACE}+|(?<!\s){_SPACE}+$|\\+$")
# A dash used as a sign: at the beginning, or where it cannot be an operator. Between values it marks a range.
_DASH_AS_SIGN = re.compile(r"(^|[(\[{,=<>:$*^])(\s*)[\u2010-\u2015\ufe58](?=\s*[$\u20ac\u00a3]?\s*[\d.\\(])")
_BLANKS = "\u00a0\u2002-\u200a\u202f\u205f"
_SEPARATOR = rf"\s{{0,2}}(?:\{{,\}}|,?\s?\\!|\\[,;: ]|~|[{_BLANKS} ])\s{{0,2}}"
# All groups must have exactly three digits: 1{,}234{,}56 and 1 234,5 are unchanged.
_THOUSANDS = re.compile(
    rf"(?<![\w.,}}\\])(?<![0-9] )(?P<first>[1-9][0-9]{{0,2}})(?P<rest>(?:{_SEPARATOR}[0-9]{{3}}){{1,12}})"
    rf"(?![0-9]|{_SEPARATOR}[0-9]|,[0-9])"
)

# Full-width forms are 0xFEE0 above their ASCII characters.
_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    0x2212: "-",
    0xFE63: "-",
    0x3002: ".",
    0x200B: "",
    0x200C: "",
    0x200D: "",
    0x2060: "",
    0xFEFF: "",
    0x2061: "",
    0x2062: "",
    0x2063: "",
}


def unwrap(text: str) -> str:
    r"""Remove markup that never changes a value.

    Around the text: blanks and spacing commands, ``$ $``, ``\( \)``, braces, fonts (``\text{}``, ``\mathbf{}``,
    ``\underline{}``), colours, Markdown emphasis, one trailing full stop. Anywhere in it: full-width characters become
    ASCII, Unicode minus signs and dashes used as signs become ``-``, and separators between groups of exactly three
    digits are removed (``1{,}234``, ``1\,234``, ``1,\!234``, ``1 234`` are 1234). A plain comma stays, since ``1,234``
    may be a list, and so does ``1 2``.

    Args:
        text: an answer; if longer than `LONGEST`, it is only stripped.

    Returns:
        The value without markup. The function is idempotent.
    """
    text = text.strip()
    if len(text) > LONGEST:
        return text
    text = text.translate(_ASCII)
    for _ in range(DEEPEST):
        before, text = text, _without_a_layer(text)
        if text == before:
            break
    text = _DASH_AS_SIGN.sub(r"\1\2-", text)
    return _THOUSANDS.sub(lambda match: re.sub("[^0-9]", "", match.group()), text)


def _without_a_layer(text: str) -> str:
    text = _SPACE_AT_THE_ENDS.sub("", text)
    text = _without_a_pair(_without_a_command(_SWITCH.sub("", text, count=1) if _SWITCH.match(text) else text))
    if text.endswith(".") and not text.endswith("..") and not re.search(r"\\(?:right|[lc])\s*\.$", text):
        text = text[:-1]
    return text


def _without_a_command(text: str) -> str:
    opening = _OPENING_COMMAND.match(text)
    if opening is None or closing(text, opening.end()) != len(text) - 1:
        return text
    return text[opening.end() : -1]


def _without_a_pair(text: str) -> str:
    for left, right in _PAIRS:
        inner = text[len(left) : len(text) - len(right)]
        if not (text.startswith(left) and text.endswith(right) and inner.strip()):
            continue
        unescaped = inner.replace(r"\$", "")
        if left not in unescaped and right not in unescaped and not inner.endswith("\\"):
            return inner
    return text


def closing(text: str, start: int) -> int | None:
    """Find the brace that closes the one before an index.

    Args:
        text: LaTeX; a backslash escapes a brace.
        start: index after the opening brace.

    Returns:
        Index of the closing brace, None if there is none.
    """
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.start()
    return None
