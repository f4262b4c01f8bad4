"""Measure A*-PO and GRPO against TRL's trainers: responses per second, seconds per step, memory.

    snakemake --cores 2 --directory results/bench/trl --configfile bench/trl.yaml -- reference data
    .venv-trl/bin/python bench/trl_speed.py --case tiny smollm2 few-shot grpo grpo-smollm2 [--threads 2] [--compile]

Same model folder, prompts, longest response, end tokens, AdamW, clipping of gradients, verifier, threads, cores and
fp32 on both sides, which take turns, each in its own process; the median of the rounds counts. TRL runs with each of
its batch sizes first, and then, in each stage, with the one that was best in it. The first command makes models and
prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from trl_cases import UNITS, Case, Measurement, Stage, add_options, chosen

from report import Measured, record

BENCH = Path(__file__).resolve().parent
Numbers = dict[str, float]


def main() -> None:
    arguments = parse()
    for name, case in chosen(arguments).items():
        medians, batches = compare(case, arguments)
        how = f"{arguments.threads} thread{'s' * (arguments.threads > 1)}{', compiled' * arguments.compile}"
        how += ", packed" * arguments.packing
        found = ratios(f"{name}, {how}", case, medians, arguments.compile)
        print(table(found, case, batches), flush=True)
        record(found, shown=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5, help="of both sides, in turns")
    return parser.parse_args()


def compare(case: Case, arguments: argparse.Namespace) -> tuple[dict[str, Numbers], dict[Stage, int]]:
    """Run both sides in turns, with the options of the command line.

    Returns:
        Medians of each side, and TRL's batch of each stage.
    """
    of_stage: dict[Stage, int] = {}
    for stage in case.stages:
        trials = {
            batch: in_a_process("theirs", Measurement(case, stage, arguments.threads, False, batch))[stage]
            for batch in case.their_batches
        }
        of_stage[stage] = max(trials, key=lambda batch: trials[batch] * (1 if stage == "stage 1" else -1))
        print(f"TRL's {stage} by batch, {UNITS[stage]}: {trials}", flush=True)
    measured: dict[str, list[Numbers]] = {"ours": [], "theirs": []}
    for number in range(1, arguments.rounds + 1):
        for side, numbers in measured.items():
            how = (arguments.compile, arguments.packing) if side == "ours" else (False, False)
            numbers.append(all_stages(side, case, of_stage, arguments.threads, *how))
            print(f"round {number}, {side}: { {name: round(n, 4) for name, n in numbers[-1].items()} }", flush=True)
    medians = {
        side: {name: statistics.median(one[name] for one in numbers) for name in numbers[0]}
        for side, numbers in measured.items()
    }
    return medians, of_stage


def all_stages(
    side: str, case: Case, of_stage: dict[Stage, int], threads: int, compiled: bool, packed: bool
) -> Numbers:
    """Measure the stages of one side, one after another."""
    numbers: Numbers = {}
    for stage, batch in of_stage.items():
        found = in_a_process(side, Measurement(case, stage, threads, compiled, batch, packed))
        numbers |= {f"{name}, {stage}" if name.startswith("tokens") else name: n for name, n in found.items()}
    return numbers


def in_a_process(side: str, asked: Measurement) -> Numbers:
    """Measure one stage of one side in a process of its own, so that its peak memory is its own, too."""
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(asked.threads)),
        "PYTHONPATH": str(BENCH.parent / "workflow_scripts"),
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    command = [sys.executable, str(BENCH / f"trl_{side}.py"), asked.to_json()]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ran.returncode:
        sys.exit(ran.stdout + ran.stderr)
    numbers: Numbers = json.loads(ran.stdout.splitlines()[-1])
    return numbers


def ratios(name: str, case: Case, medians: dict[str, Numbers], compiled: bool) -> list[Measured]:
    """Compare medians: ratios are above 1 where ours is better.

    Args:
        name: of the comparison.
        case: that was measured.
        medians: of each side, by quantity.
        compiled: whether ours compiled its passes.
    """
    rows: list[Measured] = []
    for quantity in (one for one in UNITS if one in medians["ours"]):
        ours, theirs = medians["ours"][quantity], medians["theirs"][quantity]
        ratio = ours / theirs if UNITS[quantity] == "responses/s" else theirs / ours
        rows.append(
            {
                "name": f"{case.method}, {name}: {quantity}",
                "ours": ours,
                "theirs": theirs,
                "ratio": ratio,
                "target": case.target(quantity, compiled),
                "unit": UNITS[quantity],
                "command": "python bench/trl_speed.py " + " ".join(sys.argv[1:]),
            }
        )
    return rows


def table(rows: list[Measured], case: Case, batches: dict[Stage, int]) -> str:
    """Write a comparison as a Markdown table; a target that is not reached is marked."""
    sizes = f"{case.prompts} prompts x {case.responses}, {case.tokens} tokens, TRL's batches {list(batches.values())}"
    lines = [
        f"\n{sizes}\n",
        "| quantity | ours | TRL | ratio | target | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        ratio, target = row["ratio"] or 0.0, row["target"]
        missed = "missed" if ratio < target else ""
        what = f"{row['name']}, {row['unit']}"
        lines.append(f"| {what} | {row['ours']:.4g} | {row['theirs']:.4g} | {ratio:.2f} | {target:g} | {missed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
