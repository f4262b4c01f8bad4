"""The user's own verifiers: tried on gold answers before anything is sampled, and held to their types."""

from __future__ import annotations

import json
import os

import pytest
from data_case import dataset_settings

from astarpo.common.errors import InputError
from astarpo.data.datasets import prepare
from astarpo.rewards import preparation
from astarpo.rewards.grading import Grader, Question, grade
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
    ("code", "expected"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('two\\nlines')\n", "ValueError: two lines"),
        ("sys.exit(3)\n", "SystemExit: 3"),
        ("os._exit(3)\n", "it ended its process (exit status 3)"),
        ("del Verdict\n", "AttributeError: module '"),
        ("while True: pass\n", "this took more than 2 s"),
        ("import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(60)\n", "this took more than 2 s"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_one_line(tmp_path, monkeypatch, code, expected):
    monkeypatch.setattr(preparation, "LIMITS", Limits(0.5, 0.5, loading_s=2.0))
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, code + body("return True") + ("del check\n" if "del" in code else ""))
    text = str(caught.value)
    assert text.startswith(f"verifier {tmp_path / 'mine.py'}:check cannot be loaded: {expected}") and "\n" not in text


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


BUSY = """
def compute_for(cpu_s):
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass
compute_for(1.0)
time.sleep(1.2)
open("loads", "a").write("x")
"""


def test_loading_a_file_counts_towards_no_response(tmp_path, monkeypatch):
    """Loading exceeds both limits of a response; it is repeated in the workers that replace those that were killed."""
    monkeypatch.chdir(tmp_path)
    code = (
        "if response.text == 'slow': compute_for(60)",
        "if response.text == 'crash': os._exit(3)",
        "return True",
    )
    (tmp_path / "mine.py").write_text(HEADER + BUSY + body(*code))
    settings = GradingSettings(max_null_rate=1.0, min_nulls=99, timeout_s=0.5, wall_timeout_s=1.0, deterministic=False)
    texts = ["a", "slow", "b", "crash", "c"]
    grades = grade([Question("mine.py:check", "", Response(text, [], "stop")) for text in texts], settings)
    assert [one.reward for one in grades] == [1.0, None, 1.0, None, 1.0]
    assert [one.status for one in grades[1::2]] == ["timeout", "error"]
    assert (tmp_path / "loads").read_text() == "x" * 3


def test_a_verifier_may_import_a_file_beside_it(tmp_path):
    (tmp_path / "near.py").write_text("def same(one, other):\n    return one == other\n")
    (tmp_path / "mine.py").write_text("from near import same\n" + body("return same(gold, response.text)"))
    items = [Question(f"{tmp_path / 'mine.py'}:check", "1", Response(text, [], "stop")) for text in "12"]
    assert [one.reward for one in grade(items, GradingSettings())] == [1.0, 0.0]


@pytest.mark.parametrize("responses", [1, 3])
def test_the_cause_of_null_grades_is_shown_in_small_batches(tmp_path, capfd, responses):
    (tmp_path / "mine.py").write_text(HEADER + body("return response.text / 2"))
    name, text = f"{tmp_path / 'mine.py'}:check", "The answer is " + "7" * 90
    grades = grade([Question(name, "7", Response(text, [], "stop"))] * responses, GradingSettings())
    assert [one.reward for one in grades] == [None] * responses
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        "warning: a grade is null: error: TypeError: unsupported operand type(s) for /: 'str' and 'int' "
        f"(verifier {name}, gold answer '7', response '{text[:80]}...')"
    )


def test_each_cause_of_null_grades_is_shown_once_and_five_at_most(tmp_path, capfd):
    errors = ("ValueError", "KeyError", "OSError", "TypeError", "IndexError", "EOFError")
    (tmp_path / "mine.py").write_text(body("raise __builtins__[response.text](gold)"))
    texts = [name for name in errors for _ in range(2)]
    items = [
        Question(f"{tmp_path / 'mine.py'}:check", str(n), Response(text, [], "stop")) for n, text in enumerate(texts)
    ]
    grade(items, GradingSettings())
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[3] for line in lines] == list(errors[:5])
    with pytest.raises(InputError, match=r"20 of the last 20 .* Examples: error: ValueError: 0 \(verifier .*mine"):
        grade(items[:1] * 100, GradingSettings())


def graded_twice(folder, code, responses, **settings):
    (folder / "mine.py").write_text(HEADER + code)
    items = [Question(f"{folder / 'mine.py'}:check", "7", Response(f"r{n}", [], "stop")) for n in range(responses)]
    with Grader(GradingSettings(max_null_rate=1.0, min_nulls=999, timeout_s=0.5, **settings), workers=2) as grader:
        first, *_ = [grader.grade(items) for _ in range(3)]
    return first


COUNTER = "calls = 0\ndef check(gold, response):\n    global calls\n    calls += 1\n    return "


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (COUNTER + "calls % 2 == 1", "correct (answer None), then incorrect (answer None)"),
        (COUNTER + "Verdict('correct', str(calls))", "correct (answer '1'), then correct (answer '2')"),
        (COUNTER + "1 / (calls - 2) < 0 or True", "correct (answer None), then error (answer None)"),
    ],
)
def test_a_verifier_whose_grades_differ_is_found_out(tmp_path, code, expected):
    with pytest.raises(InputError) as caught:
        graded_twice(tmp_path, code, 1)
    assert str(caught.value) == (
        f"a response was graded twice, and the grades differ: {expected}; verifier {tmp_path / 'mine.py'}:check, gold "
        "answer '7', response 'r0'. The results could not be repeated. Make the verifier deterministic, or allow this "
        "with grading.deterministic: false"
    )


def test_a_verifier_may_be_allowed_to_differ(tmp_path):
    grades = graded_twice(tmp_path, COUNTER + "calls == 1", 1, deterministic=False)
    assert [one.reward for one in grades] == [1.0]


def test_a_response_that_once_takes_too_long_is_no_difference(tmp_path):
    slow = COUNTER + "True if calls == 1 else time.sleep(0) or [None for _ in iter(int, 1)]"
    assert [one.reward for one in graded_twice(tmp_path, slow, 1)] == [1.0]


@pytest.mark.parametrize(("responses", "calls"), [(5, 15 + 15), (20, 60 + 32), (100, 300 + 32)])
def test_at_most_32_responses_are_graded_twice_in_all(tmp_path, responses, calls):
    """Three batches; of a hundred, every fourth of the first."""
    code = body(f"open({str(tmp_path / 'log')!r}, 'a').write(response.text + ' ')", "return True")
    graded_twice(tmp_path, code, responses)
    texts = (tmp_path / "log").read_text().split()
    assert len(texts) == calls
    assert responses < 100 or {f"r{n}" for n in range(0, 100, 4)} <= {name for name in texts if texts.count(name) > 3}


def test_an_unknown_status_is_never_a_reward_of_zero(tmp_path):
    (tmp_path / "mine.py").write_text(HEADER + body("return Verdict('right', None)"))
    item = Question(f"{tmp_path / 'mine.py'}:check", "1", Response("1", [], "stop"))
    (graded,) = grade([item], GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10))
    assert (graded.reward, graded.status) == (None, "error")
