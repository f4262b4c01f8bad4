"""Verifier calls for data preparation, in workers: a verifier that hangs or exits causes an error message."""

from __future__ import annotations

from collections.abc import Sequence

from astarpo.common.errors import InputError
from astarpo.rewards.grading import NULL_STATUSES, Grader, NullGuard
from astarpo.rewards.pool import GradingPool
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response
from astarpo.rewards.verifiers import own_function, right_response
from astarpo.rewards.worker import Limits, Question

TRIED = 3  # gold answers
LIMITS = Limits(cpu_s=60.0, wall_s=120.0)  # the first call may load a model


def mean_the_same(verifier: str, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Determine which pairs of gold answers a verifier considers equal.

    Args:
        verifier: a name in the registry, or ``path/to/file.py:function``.
        pairs: gold answers; the second is the response to the first.

    Returns:
        One per pair; False also if there is no verdict, so that the pair is reported.
    """
    questions: dict[int, Question] = {}
    for place, (one, other) in enumerate(pairs):
        response = right_response(verifier, other)
        if response is not None:
            questions[place] = Question(verifier, one, response)
    lenient = GradingSettings(truncated="as_judged", max_null_rate=1.0, min_nulls=len(pairs) + 1)
    with Grader(lenient, guard=NullGuard(lenient, shown=0)) as grader:
        grades = dict(zip(questions, grader.grade(questions.values()), strict=True))
    return [place in grades and grades[place].reward == 1.0 for place in range(len(pairs))]


def try_own_verifier(verifier: str, golds: Sequence[str]) -> None:
    """Call a user's verifier on a few gold answers, each also given as the response.

    Args:
        verifier: ``path/to/file.py:function``.
        golds: gold answers; the first `TRIED` distinct ones are tried.

    Raises:
        InputError: it raises, hangs, exits, or returns something other than a verdict.
    """
    tried = list(dict.fromkeys(golds))[:TRIED]
    questions = [Question(verifier, gold, Response(gold, [0], "stop")) for gold in tried]
    pool = GradingPool(1, LIMITS)
    try:
        outcomes = dict(pool.judge(questions))
    finally:
        pool.close()
    for place, gold in enumerate(tried):
        if outcomes[place].status in NULL_STATUSES:
            function = own_function(verifier)
            raise InputError(
                f"verifier {verifier} gives no verdict on the gold answer {gold!r} with the same text as the response: "
                f"{outcomes[place].status} ({outcomes[place].detail}). Fix the file: {function} is called as "
                f"{function}(gold, response), where response has text, token_ids and finish_reason, and returns a "
                "Verdict, True, False, or None for no answer"
            )
