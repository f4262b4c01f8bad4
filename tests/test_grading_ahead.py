"""Responses are graded while others are drawn, and while the models make their passes over them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import training_case as case

from astarpo.common.errors import InputError
from astarpo.rewards.ahead import GradingAhead
from astarpo.rewards.grading import Grader, Question
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response
from astarpo.sampling import Completion
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training.rollouts import draw_responses, requests_for

PATIENCE_S = 120.0  # before a test gives up on something that never comes
SAMPLING = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=8)
GRADING = GradingSettings(truncated="as_judged", max_null_rate=1.0, min_nulls=99, timeout_s=60.0)
# Leaves a file once it has judged a response; right is the gold answer "1".
LEAVES_A_FILE = """
from pathlib import Path
def judge(gold, response):
    Path(__file__).with_name("judged").touch()
    return gold == "1"
"""
# Judges nothing before a file is there.
WAITS_FOR_A_FILE = f"""
import time
from pathlib import Path
def judge(gold, response):
    for _ in range({int(10 * PATIENCE_S)}):
        if Path(__file__).with_name("passes-begun").exists():
            return len(response.text) % 2 == 0
        time.sleep(0.1)
    raise RuntimeError("nobody made the passes")
"""


def question(gold: str, text: str, verifier: str = "gsm8k_flexible") -> Question:
    return Question(verifier, gold, Response(text, [1], "stop"))


def wait_for(condition: Any) -> bool:
    """Whether the condition comes true before patience ends."""
    until = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(condition())


def test_grades_are_in_the_order_of_the_places_not_of_arrival():
    with Grader(GRADING) as grader, GradingAhead(grader) as grading:
        grading.add([3, 1], [question("7", "8"), question("7", "7")])
        grading.add([], [])
        grading.add([0], [question("5", "5")])
        grading.add([2], [question("5", "no number")])
        grades = grading.grades()
    assert [one.reward for one in grades] == [1.0, 1.0, 0.0, 0.0]
    assert [one.answer for one in grades] == ["5", "7", None, "8"]


def test_what_is_wrong_with_a_verifier_is_said_when_the_grades_are_asked_for():
    with Grader(GRADING) as grader, GradingAhead(grader) as grading:
        grading.add([0], [question("7", "7", "no_such_verifier")])
        with pytest.raises(InputError, match="no_such_verifier"):
            grading.grades()


def test_an_error_while_drawing_is_raised_at_once_and_leaves_no_thread(tmp_path):
    (tmp_path / "judge.py").write_text(WAITS_FOR_A_FILE)
    grading = GradingAhead(Grader(GRADING))

    def draw() -> None:
        with grading.grader, grading:
            grading.add([0], [question("1", "", f"{tmp_path / 'judge.py'}:judge")])
            raise FloatingPointError  # while the verifier waits

    with pytest.raises(FloatingPointError):
        draw()
    (tmp_path / "passes-begun").touch()
    assert wait_for(lambda: not grading._thread.is_alive())


def test_the_first_batch_is_graded_before_the_second_is_drawn(tiny_policy, tmp_path, monkeypatch):
    (tmp_path / "judge.py").write_text(LEAVES_A_FILE)
    verifier = f"{tmp_path / 'judge.py'}:judge"
    prompts = case.prompts(tiny_policy, 4, verifier)
    sampler = TransformersSampler(tiny_policy.model, tiny_policy.tokenizer, tiny_policy.end_token_ids, 2)
    graded_before, sample_batch = [], sampler._sample_batch

    def patient(*arguments: Any) -> None:
        # The pool starts with the first response; before the second batch, wait until it has judged the first.
        wait_for(lambda: not graded_before or (tmp_path / "judged").exists())
        graded_before.append((tmp_path / "judged").exists())
        sample_batch(*arguments)

    monkeypatch.setattr(sampler, "_sample_batch", patient)
    with Grader(GRADING) as grader, GradingAhead(grader) as grading:
        drawn = draw_responses(sampler, prompts, 1, SAMPLING, grading, (0,)).graded(grading.grades())
    assert graded_before == [False, True]
    assert [one.reward for one in drawn.grades] == [1.0] * 4


def test_passes_do_not_wait_for_grades(tiny_folder, tmp_path):
    (tmp_path / "judge.py").write_text(WAITS_FOR_A_FILE)
    made = case.trainer(tiny_folder, verifier=f"{tmp_path / 'judge.py'}:judge", steps=1, grading=GRADING)
    log_probs = made.engine.log_probs

    def noted(*arguments: Any) -> Any:
        (tmp_path / "passes-begun").touch()
        return log_probs(*arguments)

    made.engine.log_probs = noted
    with made.grader:
        metrics = made._step(1)
    assert metrics["null_share"] == 0


def test_each_response_is_announced_once_and_short_ones_before_the_batch_ends(tiny_policy):
    ends = [*range(10, 259, 8)]  # every eighth token
    sampler = TransformersSampler(tiny_policy.model, tiny_policy.tokenizer, ends, 64)
    requests = requests_for(case.prompts(tiny_policy, 4), 16, (0,))
    announced: list[tuple[list[int], list[Completion]]] = []
    drawn = sampler.sample(requests, SAMPLING, on_finished=lambda *one: announced.append(tuple(map(list, one))))
    places = [place for some, _ in announced for place in some]
    assert sorted(places) == list(range(64)) and places != sorted(places)
    assert len(announced) > 1  # halves of one batch
    assert all(drawn[place] == one for some, ones in announced for place, one in zip(some, ones, strict=True))
    assert drawn == sampler.sample(requests, SAMPLING)
