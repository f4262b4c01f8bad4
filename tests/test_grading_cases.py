"""Hard answers with their verdicts: those in cases/grading.jsonl, and others that come with the data."""

import json
from pathlib import Path

import pytest

from astarpo.rewards.grading import Question, grade
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verifiers import Response

OURS = Path(__file__).with_name("cases") / "grading.jsonl"
SETTINGS = GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10**9, timeout_s=30.0)


def read_cases(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def wrongly_judged(cases: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those whose verdict is not what is right; nothing but `correct` earns a reward."""
    items = [Question(one["verifier"], one["gold"], Response(one["response"], [], "stop")) for one in cases]
    grades = grade(items, SETTINGS)
    return [
        {**case, "status": grade.status}
        for case, grade in zip(cases, grades, strict=True)
        if (grade.status == "correct") != (case["right"] == "correct")
    ]


def test_our_cases():
    cases = read_cases(OURS)
    assert len(cases) > 700 and len({case["kind"] for case in cases}) > 30
    assert wrongly_judged(cases) == []


def test_no_case_is_judged_by_its_text_alone():
    """Without the short cut for equal texts every gold answer that is a right answer is one all the same."""
    golds = {case["gold"] for case in read_cases(OURS) if case["verifier"] == "math"}
    cases = [
        {"verifier": "math", "gold": gold, "response": rf"\boxed{{ {gold} . }}", "right": "correct"}
        for gold in sorted(golds)
        if "9^" not in gold
    ]
    assert wrongly_judged(cases) == []


@pytest.fixture
def shared_cases(data_dir):
    path = data_dir.parent / "cases/grading.jsonl"
    if not path.is_file():
        pytest.skip("the data come without cases/grading.jsonl")
    return read_cases(path)


def test_shared_cases_of_mathematics(shared_cases):
    cases = [case for case in shared_cases if case["verifier"] == "math"]
    assert len(cases) == 108 and wrongly_judged(cases) == []


def test_shared_cases(shared_cases):
    """At most five of all verifiers are left wrong, and no wrong answer is accepted."""
    wrong = wrongly_judged(shared_cases)
    assert [case for case in wrong if case["status"] == "correct"] == []
    assert len(wrong) <= 5, wrong
