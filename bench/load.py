"""Measure seconds and peak memory of the stages whose work grows with the number of responses.

    python bench/load.py [PROMPTS ...]

Every stage is its real script in a process of its own. Stage 1 draws 16 samples of each prompt in 16 blocks
(`block_size: 4`, `prompt_shards: 4`), of which one is drawn and graded here; selections and V* read all 16, the tables
and the page of responses an evaluation with 16 answers to each problem. The engine that draws responses is a fake here,
and here alone.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from bench.report import Measured, record  # noqa: E402 (the path comes first)

if TYPE_CHECKING:
    from astarpo.sampling import Completion, OnBatch, OnFinished, Request

COMMAND = "python bench/load.py"
SIZES = (10_000, 33_000, 100_000)  # prompts
EACH = 16  # samples of a prompt
BLOCK, SHARDS = 4, 4
TOKENS = 100  # of a response
LIMIT_GIB = 4.0
WORDS = "so we add the two sums and then get a number which is divided by three and this gives the result that we want "
PROMPTING = {"chat_template": False, "system_prompt": None, "max_prompt_tokens": 64}
SAMPLING = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": TOKENS}
POLICY = {"sampling_engine": "transformers", "precision": "float32", "torch_threads": 1, "prompting": PROMPTING}
GRADING = {"truncated": "incorrect", "max_null_rate": 0.02, "min_nulls": 20, "timeout_s": 5.0, "wall_timeout_s": None}
# Draws with the engine of this file, whatever the settings name.
FAKED = """
import runpy, sys
sys.path[:0] = [{scripts!r}, {root!r}]
import astarpo.sampling.stage
from bench.load import FakeSampler
astarpo.sampling.stage.make_sampler = lambda *_, **__: FakeSampler()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class FakeSampler:
    """Responses of one length that end in a number, right or wrong by their seed."""

    def sample(
        self,
        requests: Sequence[Request],
        settings: object,
        on_batch: OnBatch | None = None,
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Make up a completion for each request, 256 at a time."""
        from astarpo.sampling import Completion

        drawn = []
        for first in range(0, len(requests), 256):
            places = range(first, min(first + 256, len(requests)))
            batch = [
                Completion(
                    [1000 + (requests[place].seed + token) % 30000 for token in range(TOKENS)],
                    text_of(requests[place].seed % 3),
                    "length" if requests[place].seed % 10 == 0 else "stop",
                    -1.0 * TOKENS,
                    [-1.0 - token / 1e9 for token in range(TOKENS)],
                )
                for place in places
            ]
            for note in (on_finished, on_batch):
                if note is not None:
                    note(places, batch)
            drawn += batch
        return drawn


def text_of(number: int) -> str:
    """A response of about a hundred tokens."""
    return f"{WORDS * 3}\\boxed{{{number}}}"


def main() -> None:
    """Measure all stages at each size."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    rows: list[Measured] = []
    for prompts in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(Path(folder), prompts)
    record(rows)


def measure(folder: Path, prompts: int) -> list[Measured]:
    """Run the stages one after the other on so many prompts, and print a row of each."""
    # In a process of its own: on Linux a process starts with the peak of the one that started it.
    preparing = multiprocessing.get_context("fork").Process(target=prepare, args=(folder, prompts))
    preparing.start()
    preparing.join()
    if preparing.exitcode:
        sys.exit("the inputs cannot be made")
    rows: list[Measured] = []
    for stage, command in stages(folder).items():
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            sys.exit(f"{stage} failed")
        cpu_s, gib = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
        print(f"| {stage} | {prompts:,} | {seconds:.1f} | {cpu_s:.1f} | {gib * 1024:,.0f} |", flush=True)
        name = f"{stage}, {prompts:,} prompts x {EACH} samples"
        rows.append({"name": name, "ours": seconds, "theirs": None, "ratio": None, "unit": "s", "command": COMMAND})
        row: Measured = {"name": f"{name}: peak memory", "ours": gib, "theirs": LIMIT_GIB, "ratio": LIMIT_GIB / gib,
                         "unit": "GiB", "command": COMMAND}  # fmt: skip
        rows.append(row)
    return rows


def prepare(folder: Path, prompts: int) -> None:
    """Write the prompts, a small model, graded blocks, an evaluation, and the plan of the tables."""
    from astarpo.common.columns import DATASET, GENERATIONS, GRADED, GRADED_ANSWERS
    from astarpo.common.files import write_table
    from astarpo.common.seeds import shard_of

    ids = [f"{number:016x}" for number in range(prompts)]
    columns = {
        "prompt_id": ids,
        "problem": [f"What is {one}?" for one in ids],
        "prompt": [f"What is {one}?\n" for one in ids],
        "gold": ["1"] * prompts,
        "verifier": ["integer"] * prompts,
        "worked_solution": [None] * prompts,
        "source_index": list(range(prompts)),
        "problem_kind": [None] * prompts,
        "level": [None] * prompts,
    }
    write_table(folder / "problems.parquet", pa.table(columns, schema=DATASET), DATASET)
    for shard in range(SHARDS):
        of_shard = [one for one in ids if shard_of(one, SHARDS) == shard]
        for block in range(EACH // BLOCK):
            graded = graded_table(of_shard, range(block * BLOCK, (block + 1) * BLOCK))
            write_table(folder / f"graded-s{block}-p{shard}.parquet", graded, GRADED)
    write_table(folder / "graded-answers.parquet", graded_table(ids, range(EACH)), GRADED_ANSWERS)
    write_table(folder / "answers.parquet", answers_table(ids), GENERATIONS)
    write_reference_and_plan(folder)


def write_reference_and_plan(folder: Path) -> None:
    """Write a small model, and what the tables need of a configuration."""
    from astarpo.common.files import write_json, write_text
    from astarpo.common.provenance import manifest
    from astarpo.common.settings import canonical_json
    from astarpo.model.scratch import build_scratch_policy

    policy = build_scratch_policy(
        seed=0, layers=1, hidden_size=16, intermediate_size=32, heads=2, kv_heads=2, max_positions=256, whole_tokens=[]
    )
    policy.save(folder / "reference/model")
    made = manifest({"settings": "{}", "inputs": {}, "code": ""}, {"model": folder / "reference/model"}, 0.0)
    write_json(folder / "reference/manifest.json", made)
    entry = {
        "policy": "reference",
        "benchmark": "b",
        "protocol": "p",
        "k": EACH,
        "temperature": 1.0,
        "problems": "problems.parquet",
        "generations": "answers.parquet",
        "graded": "graded-answers.parquet",
    }
    named = {"policy": "reference", "reference": "reference", **dict.fromkeys(("run", "seed", "method", "dataset"))}
    plan = {"policies": [named], "evaluations": [entry], "runs": [], "expected": []}
    write_text(folder / "plan.json", canonical_json(plan))


def graded_table(ids: list[str], samples: range) -> pa.Table:
    """Grades of some samples of each prompt: one in three is right."""
    rows = len(ids) * len(samples)
    right = np.random.default_rng(0).integers(0, 3, rows) == 1
    return pa.table(
        {
            "prompt_id": pa.array(ids).take(pa.array(np.repeat(np.arange(len(ids)), len(samples)))),
            "sample_index": np.tile(np.array(samples), len(ids)),
            "reward": right.astype(float),
            "status": pa.array(["incorrect", "correct"]).take(pa.array(right.astype(int))),
            "answer": pa.array(["0", "1"]).take(pa.array(right.astype(int))),
            "answer_class": right.astype(int),
        }
    )


def answers_table(ids: list[str]) -> pa.Table:
    """16 responses to each problem."""
    rows = len(ids) * EACH
    texts = pa.array([f"{text_of(number % 3)} {number}" for number in range(1000)])
    tokens = pa.array(np.resize(np.arange(TOKENS, dtype=np.int32), rows * TOKENS))
    return pa.table(
        {
            "prompt_id": pa.array(ids).take(pa.array(np.repeat(np.arange(len(ids)), EACH))),
            "sample_index": np.tile(np.arange(EACH), len(ids)),
            "seed": np.arange(rows),
            "response_token_ids": pa.ListArray.from_arrays(
                np.arange(0, rows * TOKENS + 1, TOKENS, dtype=np.int32), tokens
            ),
            "response": texts.take(pa.array(np.arange(rows) % 1000)),
            "finish_reason": pa.array(["stop", "length"]).take(pa.array((np.arange(rows) % 10 == 0).astype(int))),
            "n_tokens": np.full(rows, TOKENS),
            "logprob_sum": np.full(rows, -1.0 * TOKENS),
        }
    )


def stages(folder: Path) -> dict[str, list[str]]:
    """The command of each stage, in order."""
    generating = {**SAMPLING, "base_seed": 0, "block_size": BLOCK, "prompt_shards": SHARDS}
    plan = hashlib.sha256((folder / "plan.json").read_bytes()).hexdigest()
    planned = ["--plan", "plan.json", "--settings", json.dumps({"plan_sha256": plan})]
    tables = [word for name in ("summary", "differences", "curves", "crossings", "cost")
              for word in (f"--out-{name}", f"{name}.csv", f"--out-{name}-parquet", f"{name}.parquet")]  # fmt: skip
    for name in ("markdown", "latex", "main-csv", "html", "terminal", "provenance"):
        tables += [f"--out-{name}", f"out.{name}"]
    graded = [f"graded-s{block}-p{shard}.parquet" for block in range(EACH // BLOCK) for shard in range(SHARDS)]
    counted = ["--graded", *graded, "--settings"]
    value = json.dumps({"n": EACH, "estimator": "log_mean_exp", "beta1": 0.5})
    return {
        "sample_reference, one block": _faked("sample_reference", "--machine", "{}",
            "--settings", json.dumps({**POLICY, "sampling": generating}), "--reference", "reference/manifest.json",
            "--dataset", "problems.parquet", "--block", "s0-p0",
            "--out", "drawn.parquet", "--out-manifest", "drawn.json"),
        "grade_samples, one block": _script("grade_samples", "--generations", "drawn.parquet",
            "--problems", "problems.parquet", "--settings", json.dumps(GRADING), "--out", "graded.parquet"),
        "select_prompts": _script("select_prompts", *counted, json.dumps({"n": EACH, "rule": "solved"}),
            "--out", "selected.parquet"),
        "estimate_values": _script("estimate_values", "--generations", "answers.parquet", *counted, value,
            "--out", "values.parquet"),
        "forecast_noise": _script("forecast_noise", "--generations", "answers.parquet", *counted, value, "--name", "v",
            "--out", "forecast.parquet", "--out-csv", "forecast.csv", "--out-html", "forecast.html"),
        "summarize": _script("summarize", *planned, "--paper", str(ROOT / "config/paper/main_table.csv"), *tables),
        "show_examples": _script("show_examples", *planned, "--out", "examples.html"),
    }  # fmt: skip


def _script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / f"workflow_scripts/{name}.py"), *arguments]


def _faked(name: str, *arguments: str) -> list[str]:
    program = FAKED.format(scripts=str(ROOT / "workflow_scripts"), root=str(ROOT))
    return [sys.executable, "-c", program, str(ROOT / f"workflow_scripts/{name}.py"), *arguments]


if __name__ == "__main__":
    main()
