"""The user's own verifiers: tried on gold answers before anything is sampled, and held to their types."""

from __future__ import annotations

import json
import os

import pytest
from data_case import dataset_settings

from astarpo.common.errors import InputError
from astarpo.data.datasets import prepare
from astarpo.rewards import preparation
from astarpo.rewards.grading import Question, grade
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response
from astarpo.rewards.worker import Limits

HEADER = "import os, sys, time\nfrom astarpo.rewards.verdicts import Verdict\n"


def prepared(folder, code, golds=("1", "2", "3", "4")):
    """Prepare a data set for a verifier ``check`` with this code."""
    (folder / "mine.py").write_text(HEADER + code)
    rows = [json.dumps({"problem": f"p{n}", "gold": gold}) for n, gold in enumerate(golds)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    source = {"kind": "local", "path": str(folder / "rows.jsonl")}
    entry = {"source": source, "verifier": f"{folder / 'mine.py'}:check"}
    return prepare(dataset_settings(entry), "d")


def body(*lines):
    return "def check(gold, response):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def check(gold):\n    return True\n", "error (TypeError: check() takes 1 positional argument"),
        ("def check(gold, response, extra):\n    return True\n", "missing 1 required positional argument: 'extra'"),
        (body("return response.txt == gold"), "AttributeError: 'Response' object has no attribute 'txt'"),
        (body("return 'yes'"), "must return a Verdict, True, False or None, but returned 'yes'"),
        (body("return 1"), "but returned 1"),
        (body("return Verdict('right', gold)"), "the status of a Verdict must be one of correct, incorrect"),
        (body("return Verdict('correct', 7)"), "the answer of a Verdict must be a str or None, but is 7"),
        (body("return Verdict(['correct'], None)"), "the status of a Verdict must be one of correct"),
        ("async " + body("return True"), "but returned <coroutine object"),
        ("import no_such_module\n" + body("return True"), "ModuleNotFoundError: No module named 'no_such_module'"),
        (body("sys.exit(3)"), "SystemExit: 3"),
        (body("os._exit(3)"), "the verifier ended its process (exit status 3)"),
    ],
)
def test_a_verifier_that_cannot_judge_is_refused_when_data_is_prepared(tmp_path, code, expected):
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, code)
    text = str(caught.value)
    assert expected in text and "\n" not in text
    assert text.startswith(f"verifier {tmp_path / 'mine.py'}:check gives no verdict on the gold answer '1'")
    assert "check is called as check(gold, response)" in text


@pytest.mark.parametrize(
    ("code", "limits", "expected"),
    [
        (body("while True: pass"), Limits(0.5, 120), "timeout (took more than 0.5 s of CPU time)"),
        (body("time.sleep(60)"), Limits(5, 2), "timeout (took more than 2 s of wall-clock time)"),
    ],
)
def test_a_verifier_that_hangs_is_a_message(tmp_path, monkeypatch, code, limits, expected):
    monkeypatch.setattr(preparation, "LIMITS", limits)
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, code)
    assert expected in str(caught.value)


@pytest.mark.parametrize("bad", ["1", "2", "3"])
def test_three_different_gold_answers_are_tried(tmp_path, bad):
    code = body(f"if gold == '{bad}': raise ValueError('as asked')", "return True")
    with pytest.raises(InputError, match=f"the gold answer '{bad}' .*ValueError: as asked"):
        prepared(tmp_path, code, ("1", "1", "1", "2", "2", "3"))


def test_the_gold_answer_is_the_response_as_well_and_ended_by_itself(tmp_path):
    code = body(f"open({str(tmp_path / 'log')!r}, 'a').write(f'{{gold}} {{response}};')", "return False")
    rows, _ = prepared(tmp_path, code)
    assert len(rows) == 4
    assert (tmp_path / "log").read_text() == "".join(f"{gold} {Response(gold, [0], 'stop')};" for gold in "123")


@pytest.mark.parametrize("said", ["True", "False", "None", "Verdict('no_answer', None)", "Verdict('incorrect', '')"])
def test_every_verdict_is_welcome(tmp_path, said):
    rows, _ = prepared(tmp_path, body(f"return {said}"))
    assert len(rows) == 4


def test_the_process_that_prepares_data_runs_no_code_of_the_verifier(tmp_path):
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n" + body("return True")
    prepared(tmp_path, code)
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_an_unknown_status_is_never_a_reward_of_zero(tmp_path):
    (tmp_path / "mine.py").write_text(HEADER + body("return Verdict('right', None)"))
    item = Question(f"{tmp_path / 'mine.py'}:check", "1", Response("1", [], "stop"))
    (graded,) = grade([item], GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10))
    assert (graded.reward, graded.status) == (None, "error")
