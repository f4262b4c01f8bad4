"""The verifier of mathematics: math-verify on the last box, and a fast path that never changes a verdict."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from functools import lru_cache
from math import isfinite
from typing import Any

from astarpo.boxed import last_boxed
from astarpo.rewards.verdicts import Response, Status, Verdict

LONGEST_ANSWER = 10_000  # characters; nothing longer is an answer, and reading it could fill memory
PARSING_SECONDS, COMPARING_SECONDS = 5, 5
# Workers have a clock of their own, so that a slow answer costs the worker, not a signal that sympy may swallow.
own_clock = True


def math(gold: str, response: Response) -> Verdict:
    r"""Compare the last ``\boxed{}`` of the response with the gold answer as mathematics, by math-verify.

    Only that box is looked at: of several boxes math-verify would make a set. The gold answer is wrapped in a
    box as well, since bare LaTeX is not recognised, and comes first, since the comparison is not symmetric.
    Several values separated by commas are a set, in parentheses a tuple. Percent signs, degrees, units and a
    name before an equals sign count for nothing, and decimals are compared to six places: that is math-verify's.
    Outside of a worker it must run in a process's main thread: math-verify's clock is a signal.

    Args:
        gold: LaTeX, without a box.
        response: the response.

    Returns:
        ``no_answer`` where there is no box, ``timeout`` where reading or comparing took too long.

    Raises:
        ValueError: the gold answer cannot be read.
    """
    from math_verify.errors import TimeoutException

    quick = math_quickly(gold, response)
    if quick is not None:
        return quick
    answer = last_boxed(response.text) or ""
    try:
        if _same_when_normalised(gold, answer):
            return Verdict("correct", answer)
        wanted = _parse_boxed(gold)
        if not wanted:
            raise ValueError(f"the gold answer cannot be read as mathematics: {gold!r}")
        found = _parse_boxed(answer)
    except TimeoutException:  # no Exception: it would pass through `except Exception`
        return Verdict("timeout", answer)
    return Verdict(_compare(wanted, found, plain="%" not in gold + answer), answer)


def math_quickly(gold: str, response: Response) -> Verdict | None:
    """Judge what needs no symbolic work, as `math` would: no box, equal texts, two plain numbers.

    Args:
        gold, response: as for `math`.

    Returns:
        The verdict, or None where math-verify must be asked.
    """
    answer = last_boxed(response.text)
    if answer is None:
        return Verdict("no_answer", None)
    given, wanted = answer.strip(), gold.strip()
    if given == wanted != "":
        return Verdict("correct", answer)
    right = plain_number(wanted)
    if right is None:
        return Verdict("incorrect", answer) if wanted and len(given) > LONGEST_ANSWER else None
    if len(given) > LONGEST_ANSWER:
        return Verdict("incorrect", answer)
    found = plain_number(given)
    if found is None:
        return None
    return Verdict("correct" if found == right else "incorrect", answer)


# So short that two different ones differ by more than math-verify's rounding (six decimals) takes away.
_DECIMAL = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,15})(?P<decimals>\.[0-9]{1,3})?")
_FRACTION = re.compile(
    r"(?P<sign>-?)(?:\\[dt]?frac\{(?P<n>[0-9]{1,6})\}\{(?P<d>[0-9]{1,2})\}|(?P<n2>[0-9]{1,6})/(?P<d2>[0-9]{1,2}))"
)


def plain_number(text: str) -> Fraction | None:
    r"""Read an integer, a short decimal or a simple fraction (``\frac{1}{2}``, ``1/2``); None for anything else."""
    match = _DECIMAL.fullmatch(text)
    if match is not None:
        number = Fraction(match["whole"] + (match["decimals"] or ""))
        return -number if match["sign"] else number
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    denominator = int(match["d"] or match["d2"])
    if denominator == 0:
        return None
    number = Fraction(int(match["n"] or match["n2"]), denominator)
    return -number if match["sign"] else number


def _parse_boxed(latex: str) -> list[Any]:
    """Read LaTeX; an empty list where math-verify cannot."""
    if len(latex) > LONGEST_ANSWER:
        return []
    try:
        return _parse_cached(latex)
    except Exception as error:  # sympy raises a dozen kinds at a text that is no mathematics
        _refuse_threads(error)
        return []


@lru_cache(maxsize=2048)  # a gold answer is read once for all responses to its problem
def _parse_cached(latex: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    parsed: list[Any] = parse(
        f"\\boxed{{{latex}}}",
        extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
        parsing_timeout=PARSING_SECONDS if own_clock else None,
        raise_on_error=True,
    )
    return parsed


def _same_when_normalised(gold: str, answer: str) -> bool:
    """Whether math-verify would read the very same text: it takes out spacing, units, kinds of fractions first."""
    if max(len(gold), len(answer)) > LONGEST_ANSWER:
        return False
    try:
        wanted = _normalised(gold)
        return wanted != "" and wanted == _normalised(answer)
    except Exception as error:  # a text that cannot even be normalised
        _refuse_threads(error)
        return False


@lru_cache(maxsize=2048)
def _normalised(latex: str) -> str:
    from latex2sympy2_extended.math_normalization import normalize_latex
    from math_verify import LatexExtractionConfig

    text: str = normalize_latex(
        f"\\boxed{{{latex}}}", LatexExtractionConfig(boxed_match_priority=0).normalization_config
    )
    return text


def _clearly_different(right: Any, given: Any) -> bool:
    """Whether two readings are numbers far apart, so that no simplification can make them equal."""
    from sympy import Expr

    if not (isinstance(right, Expr) and isinstance(given, Expr)):
        return False
    if right.free_symbols or given.free_symbols:
        return False
    try:
        a, b = complex(right.evalf(15)), complex(given.evalf(15))
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        return False
    gap = abs(a - b)
    return isfinite(gap) and gap > 1e-3 * max(1.0, abs(a), abs(b))


def _compare(wanted: list[Any], found: list[Any], plain: bool) -> Status:
    """Compare all readings of the gold answer with all of the given one; one match is enough.

    ``plain`` says that equal means equal value: with a percent sign 50 is 50 % and 0.5 as well.
    """
    from math_verify import verify
    from math_verify.errors import TimeoutException

    status: Status = "incorrect"
    limit = COMPARING_SECONDS if own_clock else None
    for right in wanted:
        for given in found:
            try:
                if plain and _clearly_different(right, given):
                    continue
                if verify(right, given, timeout_seconds=limit, raise_on_error=True):
                    return "correct"
            except TimeoutException:
                status = "timeout"
            except MemoryError:
                raise
            except Exception as error:  # things that cannot be compared are not equal
                _refuse_threads(error)
    return status


def _refuse_threads(error: Exception) -> None:
    """Let those errors through that no answer causes: a full memory, math-verify outside the main thread."""
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, ValueError) and "threaded environment" in str(error):
        raise error


def leave_the_clock_to_the_worker() -> None:
    """Prepare a worker process: no clock by signal, no warning about that, and the imports done."""
    global own_clock
    import math_verify  # noqa: F401

    own_clock = False
    logging.getLogger("math_verify").setLevel(logging.ERROR)
