"""The grading pool: whatever a verifier does costs one item, in time, in order, and is never a silent 0."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from odd_verifiers import odd, stillborn

from astarpo.common.errors import InputError
from astarpo.rewards import pool as pools
from astarpo.rewards import verifiers
from astarpo.rewards.grading import Grader, Question, grade, limits_of
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response
from astarpo.rewards.verifiers import Entry

NEVER_STOP = GradingSettings(max_null_rate=1.0, min_nulls=10**6, timeout_s=1.0)
IMPATIENT = GradingSettings(
    truncated="incorrect", max_null_rate=1.0, min_nulls=10**6, timeout_s=1.0, wall_timeout_s=2.5
)
ODD = f"{Path(__file__).with_name('odd_verifiers.py')}:odd"


def item(text: str, gold: str = "x", verifier: str = ODD, finish_reason: str = "stop") -> Question:
    return Question(verifier, gold, Response(text, [], finish_reason))


@pytest.fixture(scope="module")
def grader():
    with Grader(NEVER_STOP, workers=2) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        ("spin", "timeout", "took more than 1 s of CPU time"),
        ("exit", "error", "SystemExit: 3"),
        ("exit at once", "error", "exit status 3"),
        ("kill", "error", "signal SIGKILL"),
        ("raise", "error", "ValueError: as asked"),
        ("interrupt", "error", "KeyboardInterrupt"),
        ("base", "error", "BaseException: the very base"),
        ("memory", "error", "MemoryError"),
        ("recurse", "error", "RecursionError"),
        ("nonsense", "error", "must return a Verdict, True, False or None, but returned 'yes'"),
    ],
)
def test_a_verifier_that_misbehaves_costs_one_item(grader, text, status, detail):
    """Twice in a row, between items that are right; the next call works as well."""
    grades = grader.grade([item("x"), item(text), item(text), item("x"), item("y")])
    assert [one.status for one in grades] == ["correct", status, status, "correct", "incorrect"]
    assert [one.reward for one in grades] == [1.0, None, None, 1.0, 0.0]
    assert detail in grades[1].detail
    assert grader.grade([item("x")])[0].reward == 1.0


@pytest.mark.parametrize("text", ["sleep", "sleep through signals", "spin through signals"])
def test_what_the_limit_of_cpu_time_cannot_end_ends_by_the_wall_clock(text):
    with Grader(IMPATIENT) as made:
        grades = made.grade([item("x"), item(text), item("y")])
    assert [one.status for one in grades] == ["correct", "timeout", "incorrect"]
    assert grades[1].detail == "took more than 2.5 s of wall-clock time"


def test_waiting_costs_no_cpu_time(grader):
    """1.5 s by the clock on the wall, and a limit of 1 s of CPU time."""
    assert grader.grade([item("wait a little")])[0].reward == 1.0


def spin_until_killed():
    while True:
        pass


def test_a_verdict_does_not_depend_on_how_busy_the_machine_is():
    """Half a second of work takes several by the wall clock here, and the limit is one second."""
    settings = GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10**6, timeout_s=1.0)
    with Grader(settings) as made:
        idle = made.grade([item("compute for half a second")])
        busy = [
            multiprocessing.get_context("fork").Process(target=spin_until_killed, daemon=True)
            for _ in range(6 * (os.cpu_count() or 1))
        ]
        try:
            for process in busy:
                process.start()
            loaded = made.grade([item("compute for half a second")])
        finally:
            for process in busy:
                process.kill()
                process.join()
    assert [one.status for one in (*idle, *loaded)] == ["correct", "correct"]


def test_the_wall_clock_is_generous_where_nobody_sets_it():
    limits = [limits_of(GradingSettings(max_null_rate=1.0, min_nulls=1, timeout_s=seconds)) for seconds in (1.0, 30.0)]
    assert [(limit.cpu_s, limit.wall_s) for limit in limits] == [(1.0, 60.0), (30.0, 300.0)]
    assert (limits_of(IMPATIENT).cpu_s, limits_of(IMPATIENT).wall_s) == (1.0, 2.5)


def test_results_are_in_the_order_of_the_items(grader):
    texts = ["x" if n % 3 else "y" for n in range(200)]
    texts[50] = "exit at once"
    grades = grader.grade([item(text) for text in texts])
    wanted = [1.0 if text == "x" else 0.0 for text in texts]
    wanted[50] = None
    assert [one.reward for one in grades] == wanted


def test_no_answer_and_truncated(grader):
    assert grader.grade([item("none")])[0].status == "no_answer"
    (cut,) = grader.grade([item("x", finish_reason="length")])
    assert (cut.reward, cut.status) == (0.0, "incorrect")


def test_grading_twice_is_the_same(grader):
    items = [item(text) for text in ("x", "y", "raise", "none")]
    assert grader.grade(items) == grader.grade(items)


def test_what_is_judged_at_once_and_what_the_workers_judge_come_back_in_order(grader):
    quick = item(r"\boxed{3}", gold="2", verifier="integer")
    grades = grader.grade([item("x"), quick, item("x"), quick, quick, item("none")])
    assert [one.status for one in grades] == [
        "correct",
        "incorrect",
        "correct",
        "incorrect",
        "incorrect",
        "no_answer",
    ]


def test_nothing_is_started_for_quick_verifiers():
    with Grader(NEVER_STOP) as made:
        made.check_canaries(["integer", "gsm8k", "countdown"])
        made.grade([item(r"\boxed{7}", "7", "integer"), item(r"\boxed{7}", "7", "math")])
        assert made.pool._running == []


def test_a_worker_is_replaced_after_many_questions(monkeypatch):
    monkeypatch.setattr(pools, "RETIRE_AFTER", 5)
    with Grader(NEVER_STOP) as made:
        grades = made.grade([item("x")] * 100)
        assert [one.reward for one in grades] == [1.0] * 100
        first = made.pool._running[0].process.pid
        made.grade([item("x")] * 100)
        assert made.pool._running[0].process.pid != first


def test_workers_end_with_the_grader():
    with Grader(NEVER_STOP, workers=2) as made:
        made.grade([item("x")] * 10)
        processes = [worker.process for worker in made.pool._running]
        assert all(process.is_alive() for process in processes)
    assert not any(process.is_alive() for process in processes)


def test_too_many_nulls_stop_the_stage_while_it_runs():
    """Not after all of the thousand items: the twentieth null is enough."""
    settings = GradingSettings(truncated="incorrect", max_null_rate=0.02, min_nulls=20, timeout_s=1.0)
    with (
        Grader(settings, workers=2) as made,
        pytest.raises(InputError, match="20 of the last .* grades are null.*as asked"),
    ):
        made.grade([item("raise")] * 1000)


def test_a_broken_verifier_is_noticed_before_anything_is_graded(monkeypatch):
    def always(gold, response):
        return verifiers.Verdict("correct", None)

    entry = Entry(always, verifiers.boxed, always, (("1", "2", "incorrect"),))
    monkeypatch.setitem(verifiers.REGISTRY, "integer", entry)
    with (
        Grader(NEVER_STOP) as made,
        pytest.raises(InputError, match="'integer' is broken: gold '1'"),
    ):
        made.check_canaries(["integer"])


@pytest.mark.parametrize("name", sorted(verifiers.REGISTRY))
def test_canaries_of_every_verifier_sing(grader, name):
    assert verifiers.REGISTRY[name].canaries
    grader.check_canaries([name])


def test_workers_that_cannot_start_are_an_error_not_a_hang(monkeypatch):
    monkeypatch.setattr(pools, "serve", stillborn)
    made = pools.GradingPool(1, pools.Limits(1.0, 10.0))
    with pytest.raises(InputError, match="a grading worker failed to start 3 times"):
        list(made.judge([pools.Question(ODD, "x", Response("x", [], "stop"))]))
    made.close()


def test_adversarial_mathematics_is_answered():
    """Towers of powers, nested braces, megabytes, and a box without end."""
    tower = r"\boxed{2^{3^{4^{5^{6^7}}}}}"
    slow = r"\boxed{\int_0^\infty \frac{\sin x^3}{x+e^x} dx}"
    deep = r"\boxed{" + "{" * 10_000 + "1" + "}" * 10_000 + "}"
    texts = [
        tower,
        slow,
        deep,
        r"\boxed{" + "1+" * 500_000 + "1}",
        r"\boxed{" * 10_000,
        "x" * 10**6,
        r"\boxed{" + r"\frac{1}{" * 900 + "1" + "}" * 900 + "}",
        r"\boxed{10^{10^{10}}}",
        r"\boxed{9!!!!!!!!}",
        r"\boxed{\int_0^1 x^{x^{x^x}} dx}",
        r"\boxed{\sum_{n=1}^{10^9} n}",
        r"\boxed{0^{-1}}",
    ]
    settings = GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10**6, timeout_s=3.0)
    with Grader(settings, workers=2) as made:
        grades = made.grade(
            [item(text, r"\sqrt{2}", "math") for text in texts] + [item(r"\boxed{2^{1/2}}", r"\sqrt{2}", "math")]
        )
    assert grades[-1].reward == 1.0
    for text, one in zip(texts, grades, strict=False):
        assert one.status in ("incorrect", "no_answer", "timeout"), (text[:50], one)
    assert grades[0].status == "incorrect"  # at once: it is too large to be evaluated
    assert grades[2].status == "incorrect" and grades[4].status == "no_answer"


def test_the_odd_verifier_itself():
    """Its tame answers, so that the tests above test what they say."""
    assert odd("x", Response("x", [], "stop")) is True
    with pytest.raises(ValueError, match="as asked"):
        odd("x", Response("raise", [], "stop"))


def test_grade_once():
    assert [one.reward for one in grade([item("x"), item("y")], NEVER_STOP)] == [1.0, 0.0]
