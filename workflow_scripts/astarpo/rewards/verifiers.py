"""Verifiers: one response in, one verdict out. The same callable serves stage 1, training and evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from astarpo.boxed import last_boxed

Status = Literal["correct", "incorrect", "no_answer", "timeout", "error"]


@dataclass(frozen=True)
class Response:
    """What a verifier sees: the response alone, never the prompt.

    Attributes:
        text: the decoded response, special tokens left out.
        token_ids: its tokens, the end token included.
        finish_reason: ``stop`` if it ended by itself, ``length`` if it was cut.
    """

    text: str
    token_ids: list[int]
    finish_reason: str


@dataclass(frozen=True)
class Verdict:
    """A verifier's judgement.

    Attributes:
        status: ``correct``, ``incorrect``, ``no_answer`` (nothing to judge) or ``timeout``; grading adds ``error``.
        answer: the answer as extracted, None where there is none.
    """

    status: Status
    answer: str | None


Verifier = Callable[[str, Response], Verdict]


def integer(gold: str, response: Response) -> Verdict:
    r"""Compare the integer in the last ``\boxed{}`` of the response with the gold integer.

    Args:
        gold: an integer; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` where there is no box, ``incorrect`` where it holds no integer or another one.

    Raises:
        ValueError: the gold answer is no integer.
    """
    wanted = _to_integer(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is no integer: {gold!r}")
    answer = last_boxed(response.text)
    if answer is None:
        return Verdict("no_answer", None)
    return Verdict("correct" if _to_integer(answer) == wanted else "incorrect", answer)


def _to_integer(text: str) -> int | None:
    cleaned = text.strip().replace(",", "")
    return int(cleaned) if re.fullmatch(r"[+-]?[0-9]{1,1000}", cleaned) else None


def gsm8k(gold: str, response: Response) -> Verdict:
    """Compare the number after the last ``####`` of the response with the gold number, exactly.

    Strict: the rest of that line is the number, with a currency sign before it and a unit or a full stop after
    it at most. A number elsewhere in the response is no answer.

    Args:
        gold: a number; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` where nothing follows a ``####``, ``incorrect`` where it is no number or another one.

    Raises:
        ValueError: the gold answer is no number.
    """
    wanted = _to_number(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is no number: {gold!r}")
    _, mark, rest = response.text.rpartition("####")
    answer = rest.strip().partition("\n")[0].strip() if mark else ""
    if not answer:
        return Verdict("no_answer", None)
    found = _to_number(answer)
    if found is None:
        return Verdict("incorrect", answer)
    return Verdict("correct" if found == wanted else "incorrect", str(found))


# Digits with commas or spaces between thousands; then at most a unit in words, a percent sign, a full stop.
_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212]?)\s*[$\u20ac\u00a3\u00a5]?\s*(?P<sign2>[-+\u2212]?)"
    r"(?P<digits>[0-9]{1,3}(?:[, ][0-9]{3})+(?![0-9])|[0-9][0-9,]{0,999}|(?=\.[0-9]))"
    r"(?P<decimals>\.[0-9]{1,1000})?"
    r"\s*%?(?:\s+[^\W\d_][^\W\d_]*){0,5}\s*\.?"
)


def _to_number(text: str) -> Fraction | None:
    """Read a number as GSM8K's answers are written, without rounding; None where the text is more or less than one."""
    match = _NUMBER.fullmatch(text.strip()[:3000])
    if match is None or (match["sign"] and match["sign2"]):
        return None
    digits = re.sub("[, ]", "", match["digits"]) or "0"
    number = Fraction(digits + (match["decimals"] or ""))
    return -number if (match["sign"] or match["sign2"]) in ("-", "\u2212") else number


PARSING_SECONDS, COMPARING_SECONDS = 5, 5


def math(gold: str, response: Response) -> Verdict:
    r"""Compare the last ``\boxed{}`` of the response with the gold answer as mathematics, by math-verify.

    Only that box is looked at: of several boxes math-verify would make a set. The gold answer is wrapped in a
    box as well, since bare LaTeX is not recognised, and comes first, since the comparison is not symmetric.
    Must run in a process's main thread: math-verify's clock is a signal.

    Args:
        gold: LaTeX, without a box.
        response: the response.

    Returns:
        ``no_answer`` where there is no box, ``timeout`` where reading or comparing took too long.

    Raises:
        ValueError: the gold answer cannot be read.
    """
    from math_verify.errors import TimeoutException

    answer = last_boxed(response.text)
    if answer is None:
        return Verdict("no_answer", None)
    if answer.strip() == gold.strip() != "":  # no need to read it, nor to depend on a clock
        return Verdict("correct", answer)
    try:
        wanted = _parse_boxed(gold)
        if not wanted:
            raise ValueError(f"the gold answer cannot be read as mathematics: {gold!r}")
        found = _parse_boxed(answer)
    except TimeoutException:  # no Exception: it would pass through `except Exception`
        return Verdict("timeout", answer)
    return Verdict(_compare(wanted, found), answer)


def _parse_boxed(latex: str) -> list[Any]:
    """Read LaTeX; an empty list where math-verify cannot."""
    from math_verify import LatexExtractionConfig, parse

    try:
        parsed: list[Any] = parse(
            boxed(latex),
            extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
            parsing_timeout=PARSING_SECONDS,
            raise_on_error=True,
        )
    except Exception as error:  # sympy raises a dozen kinds at a text that is no mathematics
        _refuse_threads(error)
        return []
    return parsed


def _compare(wanted: list[Any], found: list[Any]) -> Status:
    """Compare all readings of the gold answer with all of the given one; one match is enough."""
    from math_verify import verify
    from math_verify.errors import TimeoutException

    status: Status = "incorrect"
    for right in wanted:
        for given in found:
            try:
                if verify(right, given, timeout_seconds=COMPARING_SECONDS, raise_on_error=True):
                    return "correct"
            except TimeoutException:
                status = "timeout"
            except Exception as error:  # things that cannot be compared are not equal
                _refuse_threads(error)
    return status


def _refuse_threads(error: Exception) -> None:
    """Let the one error through that no answer causes: math-verify called outside the main thread."""
    if isinstance(error, ValueError) and "threaded environment" in str(error):
        raise error


def boxed(answer: str) -> str:
    r"""Spell an answer as ``\boxed{answer}``."""
    return f"\\boxed{{{answer}}}"


def after_hashes(answer: str) -> str:
    """Spell an answer as ``#### answer``."""
    return f"#### {answer}"


VERIFIERS: dict[str, Verifier] = {"gsm8k": gsm8k, "integer": integer, "math": math}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "gsm8k": after_hashes,
    "integer": boxed,
    "math": boxed,
}


def right_response(verifier: str, gold: str) -> Response:
    """The shortest response that gives a gold answer in the way that a verifier wants it.

    Args:
        verifier: a name in `VERIFIERS`.
        gold: the gold answer.
    """
    return Response(SPELLINGS[verifier](gold), [], "stop")
