r"""The verifier of mathematics: the last box, read and compared kind by kind, and a fast path for plain numbers.

Gold answer and response are read alike: `markup` removes what never changes a value, `spelling` brings the rest
into one spelling, `kinds` tells values, tuples, intervals, lists, matrices and equations apart, and `comparison`
compares part by part; math-verify's parser reads the values, and sympy compares them (`values`).
"""

from __future__ import annotations

import logging

from astarpo.data.boxed import last_boxed
from astarpo.rewards.comparison import same
from astarpo.rewards.kinds import read
from astarpo.rewards.markup import LONGEST, unwrap
from astarpo.rewards.parsing import refuse_threads
from astarpo.rewards.run_on import IN_BOX, without_run_on
from astarpo.rewards.values import equal_numbers, plain_number
from astarpo.rewards.verdicts import Response, Verdict

SECONDS = 10  # for reading and comparing one answer
# Workers have a clock of their own, so that a slow answer costs the worker, not a signal that sympy may swallow.
own_clock = True


def math(gold: str, response: Response) -> Verdict:
    r"""Compare the last ``\boxed{}`` of the response with the gold answer as mathematics.

    Several values separated by commas, "and" or "or" match in any order; tuples and intervals only in theirs, and
    with the same brackets. ``x=5`` is 5 where the gold answer is a value. A unit may be missing, not be another
    one; 28% is 28 and 0.28. A decimal may differ from an exact value beyond the sixth decimal, if that is beyond
    the fourth digit as well.

    Outside of a worker it must run in a process's main thread: its clock is a signal.

    Args:
        gold: LaTeX, without a box.
        response: the response.

    Returns:
        ``no_answer`` where there is no box, ``timeout`` where reading or comparing took too long.

    Raises:
        ValueError: the gold answer is empty.
    """
    from math_verify.errors import TimeoutException
    from math_verify.utils import timeout

    quick = math_quickly(gold, response)
    if quick is not None:
        return quick
    answer = _boxed(response) or ""
    try:
        right = timeout(timeout_seconds=SECONDS if own_clock else None)(_is_right)(gold, answer)
    except TimeoutException:  # no Exception: it would pass through `except Exception`
        return Verdict("timeout", answer)
    return Verdict("correct" if right else "incorrect", answer)


def math_quickly(gold: str, response: Response) -> Verdict | None:
    """Judge what needs no symbolic work, as `math` would: no box, equal texts, two plain numbers.

    Args:
        gold, response: as for `math`.

    Returns:
        The verdict, or None where the answers must be read as mathematics.
    """
    answer = _boxed(response)
    if answer is None:
        return Verdict("no_answer", None)
    given, wanted = answer.strip(), gold.strip()
    if given == wanted != "":
        return Verdict("correct", answer)
    if len(given) > LONGEST:
        return Verdict("incorrect", answer) if wanted else None
    right, found = unwrap(wanted), unwrap(given)
    if plain_number(right) is None or plain_number(found) is None:
        return None
    return Verdict("correct" if equal_numbers(right, found) else "incorrect", answer)


def _boxed(response: Response) -> str | None:
    return last_boxed(without_run_on(response.text, IN_BOX))


def _is_right(gold: str, answer: str) -> bool:
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no clock; we have one
    if not unwrap(gold):
        raise ValueError(f"the gold answer cannot be read as mathematics: {gold!r}")
    if not answer.strip() or max(len(gold), len(answer)) > LONGEST:
        return False
    try:
        return same(read(gold), read(answer))
    except RecursionError:  # brackets within brackets
        return False
    except Exception as error:  # sympy raises a dozen kinds at what it cannot compare
        refuse_threads(error)
        return False


def leave_the_clock_to_the_worker() -> None:
    """Prepare a worker process: no clock by signal, no warning about that, and the imports done."""
    global own_clock
    import math_verify  # noqa: F401

    own_clock = False
    logging.getLogger("math_verify").setLevel(logging.ERROR)
