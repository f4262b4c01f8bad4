r"""The answer in a ``\boxed{}``, where data sets and responses put it."""

from __future__ import annotations

import re
from typing import NamedTuple

_BOX = r"\\(?:boxed|fbox|framebox)"
# A number without braces must not continue as a formula: \boxed 42+1 is not a box of 42.
_ALONE = (
    r"(?![A-Za-z0-9]|[-+*/^_=<>(\[{%&]|\s+[+*/^=<>\d]|\s+-\s*[\d\\]|\s*\\(?:%|(?:times|cdot|pi|frac|dfrac|sqrt|pm|le|ge|ne)"
    r"(?![A-Za-z]))|\s+(?:or|and)\b)"
)
# A box with braces, a box around a bare number, fraction, root or letter, an escaped character, or a brace.
_TOKEN = re.compile(
    rf"(?P<box>{_BOX}\s*\{{)"
    rf"|{_BOX}\s*(?P<bare>[-+\u2212]?(?:[0-9]++(?:[.,][0-9]++)*+|\\pi(?![A-Za-z])"
    r"|\\[dt]?frac\s*(?:[0-9]{2}|\{[^{}]*\}\s*\{[^{}]*\})|\\sqrt\s*(?:[0-9]|\{[^{}]*\})))"
    rf"{_ALONE}|{_BOX}\s+(?P<letter>[A-Z])(?=\s*(?:$|[.$]|\\\)))"
    r"|\\.|(?P<brace>[{}])",
    re.DOTALL,
)
_SPACE = r"(?:\s|\\[,;:! ]|~|\\q?quad(?![A-Za-z]))*"
_WORD = r"(?:and|or|y|und|oder|et|ou|\u548c|\u6216)"
_TEXT = r"\\(?:text|mbox|textrm)\s*\{\s*"
_SEPARATOR = rf"(?:[,;\u3001\uff0c]{_SPACE}(?:{_WORD}|{_TEXT}{_WORD}\s*\}})?|{_WORD}|{_TEXT}[,;]?\s*{_WORD}\s*\}})"
_NAME = r"(?:\\?[A-Za-z]{1,8}(?:_\{?\w{1,8}\}?)?\s*=)?"
# Text allowed between boxes that form one answer: "and", "or" or a comma, with dollars, emphasis and a name.
_BETWEEN = re.compile(
    rf"{_SPACE}(?:\*\*)?(?:\${{1,2}}|\\\)|\\\])?(?:\*\*)?{_SPACE}{_SEPARATOR}{_SPACE}(?:\*\*)?"
    rf"(?:\${{1,2}}|\\\(|\\\[)?{_SPACE}{_NAME}{_SPACE}"
)
_FURTHEST = 60  # characters between two boxes that form one answer


class _Box(NamedTuple):
    """Positions in the text: start of the command, start and end of its content, end of the box."""

    start: int
    inside: int
    outside: int
    end: int


def last_boxed(text: str) -> str | None:
    r"""Find the content of the last ``\boxed{...}`` whose braces balance, or None.

    ``\fbox{42}``, ``\boxed {42}`` and ``\boxed 42`` are boxes as well. Boxes separated only by a comma, "and" or
    "or" form one answer: ``\boxed{2} and \boxed{3}`` is ``2, 3``. If their contents are equal, they count as one box.
    If anything else, or only white space, separates two boxes, the last one counts.

    Takes one pass over the text, so the cost is linear in its length even for a hostile response.
    """
    boxes = sorted(_boxes(text))
    if not boxes:
        return None
    chosen = [boxes.pop()]
    while boxes and _joined(text, boxes[-1], chosen[-1]):
        chosen.append(boxes.pop())
    contents = [text[box.inside : box.outside] for box in reversed(chosen)]
    return contents[0] if len({one.strip() for one in contents}) == 1 else ", ".join(contents)


def _joined(text: str, first: _Box, second: _Box) -> bool:
    if not first.end <= second.start <= first.end + _FURTHEST:
        return False
    return _BETWEEN.fullmatch(text, first.end, second.start) is not None


def _boxes(text: str) -> list[_Box]:
    boxes: list[_Box] = []
    # For each open brace: the start of its box (None if it is not a box), and the position after the brace.
    opened: list[tuple[int | None, int]] = []
    for match in _TOKEN.finditer(text):
        if match["box"] or match["brace"] == "{":
            opened.append((match.start() if match["box"] else None, match.end()))
        elif match["brace"] == "}" and opened:
            start, inside = opened.pop()
            if start is not None:
                boxes.append(_Box(start, inside, match.start(), match.end()))
        elif match["bare"] or match["letter"]:
            group = "bare" if match["bare"] else "letter"
            boxes.append(_Box(match.start(), match.start(group), match.end(group), match.end()))
    return boxes
