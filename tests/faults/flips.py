"""One flipped bit in a finished file; then whatever reads the file runs again."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.cases import (
    ANSWERS,
    CONTAMINATION,
    FIGURE,
    GRADES,
    GRADING,
    PAGE,
    ROLLOUTS,
    SAMPLING,
    SELECTION,
    TABLES,
    TRAINING,
    VALUES,
    Case,
    Outcome,
    last_line,
    refusal_problem,
)
from faults.jobs import PLAN
from faults.lab import Lab, copy_paths, differing, digests
from faults.processes import Ended, Moment

EXPECTED = "refused in one line, or the same results"
BLOCK = "results/samples/tiny/sums/block-s0-p0"
POLICY = "results/runs/a-star-po/seed-0"
ANSWERED = "results/evaluations/a-star-po.seed-0/held-out.sampled"
# (file, what reads it, how many bits are tried, each in a run of its own)
FILES = (
    ("results/datasets/sums.parquet", CONTAMINATION, 8),
    ("results/datasets/sums.parquet", SAMPLING, 4),
    ("results/datasets/validation.parquet", TRAINING, 2),
    ("results/benchmarks/held-out.parquet", GRADES, 4),
    ("results/references/tiny/model/model.safetensors", SAMPLING, 4),
    ("results/references/tiny/model/config.json", TRAINING, 2),
    ("results/references/tiny/model/tokenizer.json", SAMPLING, 2),
    ("results/references/tiny/model/generation_config.json", SAMPLING, 2),
    ("results/references/tiny/manifest.json", SAMPLING, 4),
    ("results/references/tiny/manifest.json", TABLES, 4),
    (f"{BLOCK}.parquet", GRADING, 6),
    (f"{BLOCK}.manifest.json", TABLES, 6),
    (f"{BLOCK}.graded.parquet", SELECTION, 6),
    (f"{BLOCK}.graded.parquet", VALUES, 6),
    ("results/selections/solved.parquet", TRAINING, 3),
    ("results/values/v-star.parquet", TRAINING, 3),
    (f"{POLICY}/model/model.safetensors", ANSWERS, 3),
    (f"{POLICY}/model/config.json", ANSWERS, 2),
    (f"{POLICY}/manifest.json", ANSWERS, 3),
    (f"{POLICY}/manifest.json", TABLES, 6),
    (f"{POLICY}/metrics.parquet", TABLES, 3),
    (f"{POLICY}/timings.parquet", TABLES, 3),
    (f"{POLICY}/rollouts.parquet", ROLLOUTS, 3),
    (f"{ANSWERED}.generations.parquet", GRADES, 3),
    (f"{ANSWERED}.generations.parquet", PAGE, 3),
    (f"{ANSWERED}.graded.parquet", TABLES, 3),
    (f"{ANSWERED}.graded.parquet", PAGE, 3),
    (PLAN, TABLES, 3),
    ("results/tables/summary.parquet", FIGURE, 3),
)
# Files of a training that was killed after its third checkpoint of four.
CHECKPOINT = (
    ("step-000003/state.pt", 3),
    ("step-000003/sha256.json", 3),
    ("made_from.json", 3),
    ("metrics.jsonl", 2),
)


def cases(seed: int) -> Iterator[Case]:
    """Flips in every kind of file that some job reads."""
    for path, reader, count in FILES:
        flip = partial(flipped, path=path, reader=reader, count=count, seed=seed)
        yield Case("flipped bit", reader, f"{path} ({count} bits)", EXPECTED, flip, (reader,))
    for name, count in CHECKPOINT:
        flip = partial(flipped_checkpoint, name=name, count=count, seed=seed)
        yield Case("flipped bit", f"{TRAINING}, resumed", f"{name} ({count} bits)", EXPECTED, flip, (TRAINING,))


def flip_a_bit(path: Path, draw: random.Random) -> str:
    """Flip one bit of a file, keeping its times; return its place."""
    before, data = path.stat(), bytearray(path.read_bytes())
    place, bit = draw.randrange(len(data)), draw.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"bit {bit} of byte {place}"


def flipped(lab: Lab, path: str, reader: str, count: int, seed: int) -> Outcome:
    """Flip a bit of a finished file and run what reads it."""
    draw = random.Random(f"{seed} {path} {reader}")
    wrong, found = [], Counter[str]()
    expected = digests(lab.base, lab.jobs[reader].outputs, content=True)
    for _ in range(count):
        with lab.project(reader) as folder:
            place = flip_a_bit(folder / path, draw)
            verdict, why = _judged(lab, reader, folder, lab.run(reader, folder), expected)
            found[verdict] += 1
            if why is not None:
                wrong.append(f"{place}: {why}")
    return _outcome(found, wrong)


def flipped_checkpoint(lab: Lab, name: str, count: int, seed: int) -> Outcome:
    """Kill a training while it saves its last checkpoint, flip a bit of what is there, and resume."""
    draw = random.Random(f"{seed} {name}")
    wrong, found = [], Counter[str]()
    expected = digests(lab.base, lab.jobs[TRAINING].outputs, content=True)
    with lab.project(TRAINING) as killed:
        lab.run(TRAINING, killed, Moment(part="step-000004.partial"))
        scratch = lab.jobs[TRAINING].scratch or ""
        path = next((killed / scratch).rglob(name)).relative_to(killed)
        for _ in range(count):
            with lab.project(TRAINING) as folder:
                copy_paths(killed, folder, [scratch])
                place = flip_a_bit(folder / path, draw)
                verdict, why = _judged(lab, TRAINING, folder, lab.run(TRAINING, folder), expected)
                found[verdict] += 1
                if why is not None:
                    wrong.append(f"{place}: {why}")
    return _outcome(found, wrong)


def _judged(lab: Lab, reader: str, folder: Path, ended: Ended, expected: dict[str, str]) -> tuple[str, str | None]:
    """Whether the flip was refused or changed nothing, and what is wrong with how it went."""
    if ended.status != 0:
        problem = refusal_problem(ended)
        return ("refused", None) if problem is None else ("refused badly", problem)
    different = differing(expected, digests(folder, lab.jobs[reader].outputs, content=True))
    if different:
        return "other results", f"without a word, other {', '.join(different)}; {last_line(ended)}"
    return "same results", None


def _outcome(found: Counter[str], wrong: list[str]) -> Outcome:
    counts = ", ".join(f"{number} {what}" for what, number in sorted(found.items()))
    return Outcome("; ".join([counts, *wrong]), good=not wrong)
