"""The grading stage: from a table of responses to a table of grades."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import pyarrow as pa

from astarpo.common.columns import DATASET, GENERATIONS
from astarpo.common.errors import InputError
from astarpo.common.files import read_table
from astarpo.common.progress import Progress
from astarpo.data.rows import DatasetRow
from astarpo.rewards.equivalence import AnswerPair, Problem, answer_classes
from astarpo.rewards.grading import Grade, Grader, NullGuard, Question, status_counts
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verifiers import Response, right_response, takes_answers

CHUNK = 1000


class ResponseRow(TypedDict):
    """The columns read from `columns.GENERATIONS`; imported samples may lack tokens and reason."""

    prompt_id: str
    response: str
    response_token_ids: list[int] | None
    finish_reason: str | None


class GradedRow(TypedDict):
    """The columns of `columns.GRADED`; only benchmark answers have ``answer_class``."""

    prompt_id: str
    sample_index: int
    reward: float | None
    status: str
    answer: str | None
    answer_class: NotRequired[int | None]


def grade_table(
    generations: str, problems: str, settings: GradingSettings, workers: int = 1
) -> tuple[list[GradedRow], dict[str, int]]:
    """Grade every response of a file against the gold answers of another.

    Args:
        generations: parquet with the columns of `columns.GENERATIONS`.
        problems: parquet of the data set or benchmark.
        settings: policy for truncated responses, time limit, limits for null grades.
        workers: processes for slow verifiers.

    Returns:
        Rows of `columns.GRADED` in the order of the responses, and counts by status.

    Raises:
        InputError: a response whose prompt is not among the problems, or too many null grades.
    """
    problem_of = {row["prompt_id"]: row for row in read_table(problems, DATASET).to_pylist()}
    responses = read_table(generations, GENERATIONS)
    rewards = _imported_rewards(generations)
    if rewards is not None and responses["response"].null_count == responses.num_rows > 0:
        known = [_known(reward) for reward in rewards]
        return _rows(responses, known), status_counts(known)
    grades: list[Grade] = []
    with (
        Grader(settings, workers) as grader,
        Progress("grade", responses.num_rows, "responses") as progress,
    ):
        grader.check_canaries(problem["verifier"] for problem in problem_of.values())
        for start in range(0, responses.num_rows, CHUNK):
            chunk = responses.slice(start, CHUNK).to_pylist()
            grades += grader.grade([_question(row, problem_of, generations) for row in chunk])
            progress.advance(len(chunk))
    if rewards is not None:
        _compare(grades, rewards)
    return _rows(responses, grades), status_counts(grades)


def add_answer_classes(rows: Sequence[GradedRow], problems: str, settings: GradingSettings, workers: int = 1) -> None:
    """Add ``answer_class`` to graded rows; see `equivalence.answer_classes`.

    Args:
        rows: as `grade_table` returned them, in any order.
        problems: parquet of the benchmark.
        settings: time limits of a comparison.
        workers: processes for slow verifiers.
    """
    problem_of = {row["prompt_id"]: row for row in read_table(problems, DATASET).to_pylist()}
    rows_of: dict[str, list[GradedRow]] = defaultdict(list)
    for row in rows:
        rows_of[row["prompt_id"]].append(row)
    # Wrong answers may be unreadable, so errors must not stop the stage.
    lenient = settings.changed(truncated="as_judged", max_null_rate=1.0, min_nulls=len(rows) ** 2 + 1)
    with Grader(lenient, workers, NullGuard(lenient, shown=0)) as grader:
        classes = answer_classes(
            [
                Problem(
                    problem_of[prompt_id]["verifier"],
                    [row["answer"] for row in problem_rows],
                    [row["reward"] == 1.0 for row in problem_rows],
                )
                for prompt_id, problem_rows in rows_of.items()
            ],
            lambda pairs: _mean_the_same(grader, pairs),
        )
    for problem_rows, numbers in zip(rows_of.values(), classes, strict=True):
        for row, number in zip(problem_rows, numbers, strict=True):
            row["answer_class"] = number


def _mean_the_same(grader: Grader, pairs: Sequence[AnswerPair]) -> list[bool]:
    """Judge one answer of each pair with the other as gold, if the verifier supports that."""
    questions: dict[int, Question] = {}
    for place, (verifier, one, other) in enumerate(pairs):
        response = right_response(verifier, other) if takes_answers(verifier) else None
        if response is not None:
            questions[place] = Question(verifier, one, response)
    grades = dict(zip(questions, grader.grade(questions.values()), strict=True))
    return [place in grades and grades[place].reward == 1.0 for place in range(len(pairs))]


def _imported_rewards(generations: str) -> list[float | None] | None:
    """Rewards that came with imported samples; None for samples generated here."""
    table = read_table(generations)
    if "imported_reward" not in table.column_names:
        return None
    rewards: list[float | None] = table["imported_reward"].to_pylist()
    return rewards


def _known(reward: float | None) -> Grade:
    """The grade of a response without text: its imported reward."""
    if reward is None:
        return Grade(None, "error", None, "neither response nor reward was imported")
    return Grade(reward, "correct" if reward else "incorrect", None)


def _compare(grades: list[Grade], rewards: list[float | None]) -> None:
    """Print how often the verifier agrees with the imported rewards; the verifier's grades count."""
    both = [
        (graded.reward, reward)
        for graded, reward in zip(grades, rewards, strict=True)
        if graded.reward is not None and reward is not None
    ]
    if both:
        same, right = sum(reward == imported for reward, imported in both), sum(reward for reward, _ in both)
        print(
            f"{same} of {len(both)} grades agree with the imported rewards; correct: {right:g} here, "
            f"{sum(imported for _, imported in both):g} imported",
            flush=True,
        )


def _question(row: ResponseRow, problem_of: Mapping[str, DatasetRow], generations: str) -> Question:
    problem = problem_of.get(row["prompt_id"])
    if problem is None:
        raise InputError(f"{generations}: prompt {row['prompt_id']} is not among the problems")
    # Imported samples may lack tokens and finish reason; they count as complete.
    token_ids, finish_reason = row["response_token_ids"] or [], row["finish_reason"] or "stop"
    response = Response(row["response"], token_ids, finish_reason)
    return Question(problem["verifier"], problem["gold"], response)


def _rows(responses: pa.Table, grades: list[Grade]) -> list[GradedRow]:
    ids = responses["prompt_id"].to_pylist()
    indices = responses["sample_index"].to_pylist()
    return [
        {
            "prompt_id": prompt_id,
            "sample_index": index,
            "reward": graded.reward,
            "status": graded.status,
            "answer": graded.answer,
        }
        for prompt_id, index, graded in zip(ids, indices, grades, strict=True)
    ]
