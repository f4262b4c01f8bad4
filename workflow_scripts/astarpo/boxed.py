r"""The last ``\boxed{}`` of a text: where data sets and responses put their answers."""

from __future__ import annotations

import re


def last_boxed(text: str) -> str | None:
    r"""Find the content of the last ``\boxed{...}`` whose braces balance; None where there is none.

    One pass over the text, so that a hostile response costs no more than its length.
    """
    # Position after each open brace, and whether it opens a box.
    opened: list[tuple[int, bool]] = []
    best: tuple[int, int] | None = None
    for match in re.finditer(r"\\boxed\s*\{|[{}]", text):
        if match.group() != "}":
            opened.append((match.end(), len(match.group()) > 1))
        elif opened:
            start, is_box = opened.pop()
            if is_box and (best is None or start > best[0]):
                best = (start, match.start())
    return None if best is None else text[best[0] : best[1]]
