r"""The verifier of mathematics: it compares the last box by kind, with a fast path for plain numbers.

Gold answer and response are read alike: `markup` removes what never changes a value, `spelling` normalises the rest,
`kinds` distinguishes values, tuples, intervals, lists, matrices and equations, and `comparison` compares element by
element. math-verify's parser reads the values, and sympy compares them (`values`).
"""

from __future__ import annotations

import logging

from astarpo.data.boxed import last_boxed
from astarpo.rewards.comparison import same
from astarpo.rewards.kinds import read
from astarpo.rewards.markup import LONGEST, unwrap
from astarpo.rewards.parsing import reraise_if_fatal
from astarpo.rewards.run_on import IN_BOX, without_run_on
from astarpo.rewards.values import equal_numbers, plain_number
from astarpo.rewards.verdicts import Response, Verdict

SECONDS = 10  # for reading and comparing one answer
# False in workers: they have kernel timers, while sympy may swallow the exception of a signal.
use_signal_clock = True


def math(gold: str, response: Response) -> Verdict:
    r"""Compare the last ``\boxed{}`` of the response with the gold answer as mathematics.

    Values separated by commas, "and" or "or" match in any order; tuples and intervals only in order and with the same
    brackets. ``x=5`` is 5 if the gold answer is a value. A unit may be missing but must not differ; 28% is 28 and
    0.28. A decimal may differ from an exact value beyond the sixth decimal, if that is also beyond the fourth
    significant digit.

    Outside of workers it must run in the main thread, since its time limit uses a signal.

    Args:
        gold: LaTeX, without a box.
        response: the response.

    Returns:
        ``no_answer`` if there is no box, ``timeout`` if reading or comparing took too long.

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
        right = timeout(timeout_seconds=SECONDS if use_signal_clock else None)(_is_right)(gold, answer)
    except TimeoutException:  # a BaseException, so `except Exception` does not catch it
        return Verdict("timeout", answer)
    return Verdict("correct" if right else "incorrect", answer)


def math_quickly(gold: str, response: Response) -> Verdict | None:
    """Judge cases without symbolic work as `math` does: no box, equal texts, two plain numbers.

    Args:
        gold, response: as for `math`.

    Returns:
        The verdict, or None if the answers must be read as mathematics.
    """
    answer = _boxed(response)
    if answer is None:
        return Verdict("no_answer", None)
    given, wanted = answer.strip(), gold.strip()
    if given == wanted != "":
        return Verdict("correct", answer)
    if len(given) > LONGEST:
        return Verdict("incorrect", answer) if wanted else None
    bare_gold, bare_answer = unwrap(wanted), unwrap(given)
    if plain_number(bare_gold) is None or plain_number(bare_answer) is None:
        return None
    return Verdict("correct" if equal_numbers(bare_gold, bare_answer) else "incorrect", answer)


def _boxed(response: Response) -> str | None:
    return last_boxed(without_run_on(response.text, IN_BOX))


def _is_right(gold: str, answer: str) -> bool:
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # suppress the warning about a missing time limit
    if not unwrap(gold):
        raise ValueError(f"the gold answer cannot be read as mathematics: {gold!r}")
    if not answer.strip() or max(len(gold), len(answer)) > LONGEST:
        return False
    try:
        return same(read(gold), read(answer))
    except RecursionError:  # deeply nested brackets
        return False
    except Exception as error:  # sympy raises many types on what it cannot compare
        reraise_if_fatal(error)
        return False


def prepare_worker() -> None:
    """Prepare a worker process: turn off the signal and the warning about that, and do the imports."""
    global use_signal_clock
    import math_verify  # noqa: F401

    use_signal_clock = False
    logging.getLogger("math_verify").setLevel(logging.ERROR)
