"""Words around answers, and answers that are words."""

from __future__ import annotations

import re

from astarpo.rewards.functions import FUNCTIONS
from astarpo.rewards.spelling import spell


def out_of_phrase(answer: str) -> str:
    """Extract an answer from surrounding words and normalise it.

    Args:
        answer: content of a box or gold answer. A text of several lines is not searched for a sentence.

    Returns:
        Normalised LaTeX.
    """
    if "\n" in answer.strip() and r"\[" not in answer:
        return spell(answer)
    return _without_preamble(spell(_from_sentence(answer)))


_OTHER_SCRIPT = re.compile(r"[^\W\d_a-zA-Z\u00b5\u0370-\u03ff\u00c0-\u024f]")
# Numerals and denials that change a number, in Chinese, Korean, Russian, Arabic and Hindi.
_TURNING = re.compile(
    "[\u4e07\u842c\u4ebf\u5104\u5343\u767e\u5341\u5146\u500d\u534a\u4e0d\u975e\u6ca1\u6c92\u5206\u6253\u6216\u548c]"
    # About, less or more than, other than, squared, below zero, in Chinese and Japanese.
    "|\u7ea6|\u7d04|\u5c0f\u4e8e|\u5c0f\u65bc|\u5927\u4e8e|\u5927\u65bc|\u5c11\u4e8e|\u591a\u4e8e|\u8d85|\u81f3\u5c11|\u81f3\u591a"
    "|\u4ee5\u4e0a|\u4ee5\u4e0b|\u4ee5\u5185|\u4ee5\u5916|\u4e0d\u8db3|\u5e73\u65b9(?![\u7c73\u5398\u5343\u516c\u5206])|\u96f6\u4e0b|\u51e0"
    r"|(?<=[0-9])\s*\u591a|\u672a\u6e80|\u3088\u308a|\u30de\u30a4\u30ca\u30b9|\u306a\u3044|\u9664|[\u8d1f\u8ca0]"
    "|[\ub9cc\uc5b5\ucc9c\ubc31\uc544]"
    "|\u043c\u0438\u043b\u043b|\u0442\u044b\u0441|\u043d\u0435|\u043c\u043b\u043d"
    "|\u0645\u0644\u064a|\u0623\u0644\u0641|\u0644\u064a\u0633"
    "|\u0932\u093e\u0916|\u0915\u0930\u094b\u0921|\u0928\u0939\u0940\u0902"
)
_PREAMBLE = re.compile(
    r"^(?:\\text\{)?\s*(?:so\s+)?(?:(?:the|la|die|il)\s+)?(?:(?:final|correct)\s+)?"
    r"(?:answer|ans|result|respuesta|antwort|risposta|resposta|r\u00e9ponse|solution|soluci\u00f3n)"
    r"\s*(?:is|es|ist|est|\u00e8|\u00e9)?\s*:?\s*\}?\s*(?=\S)",
    re.IGNORECASE,
)
_DENIALS = re.compile(
    r"\b(?:not|no|\w+n't|wrong|false|incorrect|less|more|about|approximately|maybe|never|impossible|except|without|unless|"
    r"neither|nor|either|or|and|thousand|[mbtr]+illions?|dozen|hundred|half|times|percent)\b",
    re.IGNORECASE,
)


def _from_sentence(answer: str) -> str:
    """The formula of a sentence with one formula and no denial: ``Therefore $x>5$ is the solution.``"""
    pieces = re.split(r"(?<!\\)\$+", answer)
    outside = "".join(pieces[::2])
    sentence = len(pieces) == 3 and re.fullmatch(r"[A-Za-z ,.:']*[A-Za-z]{2,}[A-Za-z ,.:']*", outside)
    return pieces[1] if sentence and not _DENIALS.search(outside) else answer


def _without_preamble(text: str) -> str:
    """Remove ``Answer:``, and the words of another script around a single number."""
    shorter = _PREAMBLE.sub("", text, count=1)
    if shorter != text and re.match(r"[-+0-9\\.($]", shorter):
        text = spell(shorter)
    if not _OTHER_SCRIPT.search(text) or _TURNING.search(text):
        return text
    bare = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    pieces = [
        piece
        for piece in re.split(
            rf"(?:{_OTHER_SCRIPT.pattern}|[\s,:.!\uff1a])*{_OTHER_SCRIPT.pattern}(?:[\s:]|[,.!]$)*",
            bare,
        )
        if piece.strip()
    ]
    return pieces[0].strip() if len(pieces) == 1 and re.search("[0-9]", pieces[0]) else text


_MATHEMATICS = re.compile(rf"\\?\b(?:{'|'.join(FUNCTIONS)})\b")


def are_words(text: str) -> bool:
    r"""Whether an answer is text, not mathematics: ``\text{east}`` or ``No solution``, but not ``xy`` or ``5``."""
    bare = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    if "\\" in bare or re.search(r"[0-9=+*/^_<>|]", bare):
        return bool(re.fullmatch(r"\s*[A-Za-z]{3,}[\w\s.,'()-]*", bare)) and "\\text" in text
    words = re.findall(r"[^\W\d_]+", bare)
    longest = max(words, key=len, default="")
    spoken = len(longest) > 2 and re.search("[aeiouy\u00c0-\uffff]", longest.lower())
    return not _MATHEMATICS.search(bare) and bool(spoken or ("\\text" in text and len(longest) > 1))
