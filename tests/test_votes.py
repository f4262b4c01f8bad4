"""Verdicts without the text of an answer: no votes on that benchmark; `no_answer` only by the status."""

from __future__ import annotations

import pytest

from astarpo.common.columns import DATASET, GENERATIONS, GRADED_ANSWERS
from astarpo.common.files import write_table
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.stage import add_answer_classes, grade_table
from astarpo.tables.evaluations import read_answers, score_policies

SETTINGS = GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=100)
VERIFIER = """
from astarpo.rewards.verdicts import Verdict

def says(gold, response):
    if response.text == "raise":
        raise ValueError("as asked")
    return None if response.text == "none" else response.text == gold

def tells(gold, response):
    said = says(gold, response)
    return Verdict("no_answer", None) if said is None else Verdict("correct" if said else "incorrect", response.text)
"""


@pytest.fixture
def evaluated(tmp_path):
    """Grade responses as the stages do: (benchmark, policy, verifier, texts), two to a problem."""
    (tmp_path / "mine.py").write_text(VERIFIER)

    def evaluate(benchmark, policy, verifier, *texts):
        if verifier in ("says", "tells"):
            verifier = f"{tmp_path / 'mine.py'}:{verifier}"
        paths = {name: str(tmp_path / f"{policy}.{benchmark}.{name}") for name in ("problems", "generations", "graded")}
        rows = [
            {
                **dict.fromkeys(DATASET.names),
                "prompt_id": f"p{n}",
                "gold": "7",
                "verifier": verifier,
            }
            for n in range(len(texts) // 2)
        ]
        drawn = [
            {
                **dict.fromkeys(GENERATIONS.names),
                "prompt_id": f"p{n // 2}",
                "sample_index": n % 2,
                "response": text,
                "finish_reason": "stop",
                "n_tokens": 1,
            }
            for n, text in enumerate(texts)
        ]
        write_table(paths["problems"], rows, DATASET)
        write_table(paths["generations"], drawn, GENERATIONS)
        grades, _ = grade_table(paths["generations"], paths["problems"], SETTINGS)
        add_answer_classes(grades, paths["problems"], SETTINGS)
        write_table(paths["graded"], grades, GRADED_ANSWERS)
        return {
            "policy": policy,
            "benchmark": benchmark,
            "protocol": "sampled",
            "k": 2,
            "temperature": 1.0,
            **paths,
        }

    return evaluate


def names(scores, policy, benchmark):
    return [name for name, _ in scores[policy, benchmark, "sampled"].metrics]


def test_a_verifier_that_says_true_or_false_has_no_votes(evaluated):
    entry = evaluated("b", "tiny", "says", "7", "8", "none", "raise")
    answers = read_answers(entry["graded"], entry["generations"], 2)
    assert not answers.has_texts and answers.no_answer_PK.tolist() == [
        [False, False],
        [True, False],
    ]
    scores = score_policies([{"policy": "tiny", "run": None, "seed": None}], [entry])
    assert names(scores, "tiny", "b") == ["avg@2", "pass@1", "pass@2"]
    told = scores["tiny", "b", "sampled"].responses
    assert (told["no_answer_share"], told["null_share"]) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("verifier", "texts", "share"),
    [
        ("tells", ("7", "8", "none", "raise"), 0.25),
        (
            "integer",
            (r"\boxed{7}", r"\boxed{}", "7", r"\boxed{8}"),
            0.25,
        ),  # an empty box is an answer
        ("gsm8k", ("#### 7", "####", "7", "#### seven"), 0.5),
    ],
)
def test_verdicts_with_texts_vote(evaluated, verifier, texts, share):
    entry = evaluated("b", "tiny", verifier, *texts)
    scores = score_policies([{"policy": "tiny", "run": None, "seed": None}], [entry])
    assert names(scores, "tiny", "b") == ["avg@2", "pass@1", "pass@2", "maj@2"]
    assert scores["tiny", "b", "sampled"].responses["no_answer_share"] == share


def test_one_policy_without_texts_takes_the_votes_of_all_on_that_benchmark(evaluated):
    """Seeds are pooled metric by metric, so they must have the same ones, whatever a seed answered."""
    policies = [{"policy": f"go.seed-{seed}", "run": "go", "seed": seed} for seed in (0, 1)]
    entries = [
        evaluated("b", "go.seed-0", "says", "none", "none"),  # nothing judged, so no text is missing
        evaluated("b", "go.seed-1", "says", "7", "8"),
        evaluated("c", "go.seed-0", "integer", r"\boxed{7}", r"\boxed{7}"),
        evaluated("c", "go.seed-1", "integer", r"\boxed{7}", r"\boxed{8}"),
    ]
    scores = score_policies(policies, entries)
    for policy in ("go", "go.seed-0", "go.seed-1"):
        assert names(scores, policy, "b") == ["avg@2", "pass@1", "pass@2"]
        assert "maj@2" in names(scores, policy, "c")
