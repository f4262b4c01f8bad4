"""Measure the speed of grading against math-verify in a plain loop, and whether memory stays flat.

The verdicts must be the same.

python bench/grading.py
"""

from __future__ import annotations

import json
import logging
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from astarpo.rewards.grading import Grader, Question  # noqa: E402
from astarpo.rewards.settings import GradingSettings  # noqa: E402
from astarpo.rewards.verdicts import Response  # noqa: E402
from bench.report import Measured, record  # noqa: E402

COMMAND = "python bench/grading.py"
ANSWERS = ROOT / "bench/math_answers.jsonl"
WORKERS = 2
WORDS = "so we add the two sums and get a number that is then divided by three"


def plain_loop(pairs: list[tuple[str, str]]) -> list[bool]:
    """The usual code: parse both, verify."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig(boxed_match_priority=0)]
    return [
        bool(
            verify(
                parse(f"\\boxed{{{gold}}}", extraction_config=config),
                parse(response, extraction_config=config),
            )
        )
        for gold, response in pairs
    ]


def warm_grader() -> Grader:
    """A grader whose workers are already running but have seen none of the answers."""
    grader = Grader(GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=10**9, timeout_s=10.0), WORKERS)
    grader.grade(items([(f"{n}x", f"\\boxed{{x*{n}}}") for n in range(8 * WORKERS)]))
    return grader


def ours(grader: Grader, pairs: list[tuple[str, str]]) -> list[bool]:
    """The grader of the workflow."""
    return [grade.reward == 1.0 for grade in grader.grade(items(pairs))]


def items(pairs: list[tuple[str, str]]) -> list[Question]:
    """Pairs of gold answer and response as the grader takes them."""
    return [Question("math", gold, Response(response, [], "stop")) for gold, response in pairs]


def median_seconds(prepare: Callable[[], Grader | None], work: Callable[[Grader | None], object]) -> float:
    """Median time of three runs, each with new inputs that are prepared before timing."""
    times = []
    for _ in range(3):
        prepared = prepare()
        started = time.perf_counter()
        work(prepared)
        times.append(time.perf_counter() - started)
        if prepared is not None:
            prepared.close()
    return sorted(times)[1]


def numbers(count: int) -> list[tuple[str, str]]:
    """Responses of about a hundred words that end in a plain number, half of them correct."""
    rng = random.Random(0)
    words = WORDS.split()
    pairs = []
    for _ in range(count):
        gold = rng.randrange(10_000)
        given = gold if rng.random() < 0.5 else gold + 1
        pairs.append((str(gold), f"{' '.join(rng.choices(words, k=100))} \\boxed{{{given}}}"))
    return pairs


def compare(name: str, pairs: list[tuple[str, str]], of_theirs: int) -> Measured:
    """Responses per second of both, for the plain loop on the first ``of_theirs`` pairs."""
    sample = pairs[:of_theirs]
    with warm_grader() as grader:
        if ours(grader, sample) != plain_loop(sample):
            raise SystemExit(f"{name}: the verdicts differ")
    fast = len(pairs) / median_seconds(warm_grader, lambda grader: ours(grader, pairs))
    slow = len(sample) / median_seconds(lambda: None, lambda _: plain_loop(sample))
    return {
        "name": name,
        "ours": fast,
        "theirs": slow,
        "ratio": fast / slow,
        "unit": "responses/s",
        "command": COMMAND,
    }


def resident_mib(pid: int | str = "self") -> float:
    """Current resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(pairs: list[tuple[str, str]], rounds: int) -> list[Measured]:
    """Memory of parent and workers after a quarter of the responses, and after all."""
    readings = []
    with warm_grader() as grader:
        for number in range(1, rounds + 1):
            ours(grader, pairs)
            if number in (rounds // 4, rounds):
                workers = [resident_mib(one.process.pid or 0) for one in grader.pool._running]
                readings.append((resident_mib(), max(workers)))
    graded = len(pairs) * rounds
    return [
        {
            "name": f"memory of the {who} after {graded:,} responses, and after a quarter",
            "ours": last,
            "theirs": first,
            "ratio": first / last,
            "unit": "MiB",
            "command": COMMAND,
        }
        for who, first, last in zip(("parent", "largest worker"), *readings, strict=True)
    ]


def main() -> None:
    """Measure, print, record."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    plain = numbers(50_000)
    answers = [
        (row["gold"], f"Thus \\boxed{{{row['answer']}}}.")
        for row in map(json.loads, ANSWERS.read_text(encoding="utf-8").splitlines())
    ]
    record([compare("grading plain numbers", plain, 2_000)])
    record([compare("grading answers of mathematics", answers, len(answers))])
    record(memory(answers + plain[: 4_000 - len(answers)], 50))


if __name__ == "__main__":
    main()
