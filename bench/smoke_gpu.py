"""Run every engine for real on one NVIDIA card, in at most ten minutes: make smoke-gpu

    python bench/smoke_gpu.py [--only PATTERN ...] [--folder FOLDER]
    .venv-engines/bin/python bench/smoke_gpu.py --device cpu      # the same on a CPU, with a smaller model

Snakemake makes a model (tests/configs/smoke_gpu.yaml), trains it and evaluates it, as for any user, and what it has
written is checked. Each check prints a line: passed, FAILED or skipped, with its seconds. Then come the speeds of the
trainings, and their peak memory beside the estimate. The exit status is 1 if a check has failed, and 0 without a card.
A check that takes more than two fifths of the time of all (--minutes) has failed, and the next one begins.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from astarpo.common.devices import visible_devices  # noqa: E402 (the path comes first)
from bench import smoke_checks as checks  # noqa: E402
from bench.smoke_checks import Failed, Skipped  # noqa: E402

CONFIGS = ROOT / "tests/configs"
MODEL = Path("results/references/made")
DATASET = Path("results/datasets/sums.parquet")
# What differs on a CPU: a small model, and vLLM in float32, as some CPUs lack what its bfloat16 needs.
ON_CPU = {
    "references": {
        "made": {
            "source": {"layers": 2, "hidden_size": 128, "intermediate_size": 256, "heads": 2, "kv_heads": 1},
            "warm_start": {"lr": 3e-3},
        }
    },
    "machine": {"device": "cpu", "sampler_memory_share": 0.02},
}
VLLM_ON_CPU = {"references": {"with-vllm": {"precision": "float32"}}}
POLL_S = 0.02
LONGEST_SHARE = 0.4  # of --minutes, for one check: vLLM or a compiler may take minutes to start


def main() -> int:
    arguments = parse()
    if arguments.device == "cuda" and not visible_devices():
        print(
            "no NVIDIA card is visible here, so nothing was run; on a CPU: "
            ".venv-engines/bin/python bench/smoke_gpu.py --device cpu"
        )
        return 0
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="smoke-gpu-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    smoke = Smoke(folder, arguments.device, 60 * arguments.minutes)
    failed = run(smoke, [check for check in CHECKS if wanted(check, arguments.only)])
    if failed or arguments.folder:
        print(f"kept: {folder} (results/logs/ has the logs)")
    else:
        shutil.rmtree(folder)
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where to run (default: cuda)")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="checks whose names match")
    parser.add_argument("--folder", help="where to run, and what to keep (default: a temporary folder)")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after so many (default: 10)")
    return parser.parse_args()


@dataclass
class Smoke:
    """The project in which the checks run.

    Attributes:
        folder: of the project.
        device: ``cuda`` or ``cpu``.
        limit_s: for all checks together, from now on.
    """

    folder: Path
    device: str
    limit_s: float

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.limit_s
        self.begin(longest_share=1.0)

    def begin(self, longest_share: float) -> None:
        """Begin a check, which may take this share of the time of all."""
        self.longest_s = longest_share * self.limit_s
        self.check_deadline = min(self.deadline, time.monotonic() + self.longest_s)

    def make(self, *targets: Path | str, machine: dict[str, Any] | None = None, vllm: bool = False) -> None:
        """Let Snakemake make files.

        Args:
            targets: the files, relative to the folder.
            machine: settings of this call only.
            vllm: whether the configuration with vLLM is added.
        """
        status, said = self._call(self.command(*targets, machine=machine, vllm=vllm))
        if status:
            failures = [line for line in said.splitlines() if " failed: " in line]
            raise Failed((failures or last_lines(said) or [f"Snakemake ends with {status}"])[0])

    def command(self, *targets: Path | str, machine: dict[str, Any] | None = None, vllm: bool = False) -> list[str]:
        """The command line of `make`, whose configuration it writes."""
        files = [CONFIGS / "smoke_gpu.yaml", *([CONFIGS / "smoke_gpu_vllm.yaml"] if vllm else [])]
        on_cpu = [ON_CPU, *([VLLM_ON_CPU] if vllm else [])] if self.device == "cpu" else []
        for number, changes in enumerate([*on_cpu, {"machine": machine or {}}]):
            files.append(self.folder / f"changes-{number}.json")  # JSON is YAML
            files[-1].write_text(json.dumps(changes))
        workflow = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)]
        options = ["--cores", "2", "--quiet", "all", "--configfile", *map(str, files), "--"]
        return [sys.executable, "-m", "snakemake", *workflow, *options, *map(str, targets)]

    def ask(self, *question: Path | str) -> dict[str, Any]:
        """Ask `bench/smoke_engine.py`, in a process of its own."""
        status, said = self._call([sys.executable, str(ROOT / "bench/smoke_engine.py"), *map(str, question)])
        if status:
            raise Failed((last_lines(said) or [f"the process ends with {status}"])[0])
        answer: dict[str, Any] = json.loads(last_lines(said)[0])
        return answer

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a program in the folder, in a process group of its own."""
        # The rules call plain `python`, which must be this one. What DeepSpeed compiles is kept in its environment.
        environment = {
            "TORCH_EXTENSIONS_DIR": f"{sys.prefix}/torch_extensions",
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True, **streams)

    def _call(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a program to its end; its status and output."""
        return self.end(self.start(command))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for a program; its status and output.

        Raises:
            Failed: the time of the check or of all checks is over; the program and its children are killed.
        """
        try:
            said, _ = process.communicate(timeout=max(self.check_deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            raise Failed(self._out_of_time()) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode, said

    def _out_of_time(self) -> str:
        """Which time is over, and what the log that was written last says at its end."""
        over = "not done when the time was over (--minutes)"
        if self.check_deadline < self.deadline:
            over = f"not done after {self.longest_s:.0f} s, {self.longest_s / self.limit_s:g} of --minutes"
        logs = sorted(self.folder.glob("results/logs/**/*.log"), key=lambda log: log.stat().st_mtime)
        ends = last_lines(logs[-1].read_text(errors="replace")) if logs else []
        return f"{over}; {logs[-1].relative_to(self.folder)} ends: {ends[0]}" if ends else over


def last_lines(said: str) -> list[str]:
    """The last line of an output that is not empty, if there is one."""
    return [line for line in said.splitlines() if line.strip()][-1:]


def training(run: str) -> Path:
    """The folder of a run."""
    return Path(f"results/runs/{run}/seed-0")


def train(run: str, vllm: bool = False, **machine: Any) -> Callable[[Smoke], str]:
    """A check that trains a run."""

    def check(smoke: Smoke) -> str:
        smoke.make(training(run) / "manifest.json", machine=machine, vllm=vllm)
        said = checks.check_training(smoke.folder / training(run))
        return f"{said}; {checks.check_follows(smoke.folder / training(run))}" if vllm else said

    return check


def model(smoke: Smoke) -> str:
    """Make the model that the other checks use."""
    from astarpo.model.memory import parameters_of_folder

    smoke.make(MODEL / "manifest.json", DATASET, machine={})
    return f"{(parameters_of_folder(smoke.folder / MODEL / 'model') or 0) / 1e6:.1f} million weights"


def resume(smoke: Smoke) -> str:
    """Stop a training after a checkpoint, start it again, and compare it with the one that ran through."""
    manifest = training("stopped") / "manifest.json"
    snakemake = smoke.start(smoke.command(manifest))
    scratch = smoke.folder / "results/checkpoints/stopped/seed-0"
    while snakemake.poll() is None and not any(scratch.glob("*/world-1/step-*/sha256.json")):
        if time.monotonic() > smoke.check_deadline:
            break
        time.sleep(POLL_S)
    if snakemake.poll() is None and (lock := scratch / "lock").exists():
        os.kill(int(re.findall(r"process (\d+)", lock.read_text())[0]), signal.SIGTERM)
    _, said = smoke.end(snakemake)
    if (smoke.folder / manifest).exists():
        raise Failed("the training ended before it was stopped")
    if "run the same command to resume" not in said:
        raise Failed((last_lines(said) or ["the stopped training says nothing"])[0])
    smoke.make(manifest, training("torch") / "manifest.json")
    log = (smoke.folder / "results/logs/train_policy/stopped/seed-0.log").read_text()
    resumed = re.search(r"resuming from the checkpoint of step (\d+)", log)
    if resumed is None:
        raise Failed("the second start does not go on from the checkpoint")
    same = checks.check_same_metrics(*(smoke.folder / training(run) for run in ("torch", "stopped")))
    return f"stopped after step {resumed[1]}; {same}"


def sample(smoke: Smoke) -> str:
    """Sample with vLLM as stage 1 does, and compare its log-probabilities with torch's."""
    samples = Path("results/samples/with-vllm/sums/block-s0-p0.parquet")
    smoke.make(samples, vllm=True)
    ended = checks.check_ended(smoke.folder / samples)
    precision = vllm_precision(smoke)
    found = smoke.ask("log-probs", samples, DATASET, MODEL / "model", smoke.device, precision)
    return f"{ended}; {checks.check_log_probs(found['vllm'], found['torch'], found['tokens'])}"


def vllm_precision(smoke: Smoke) -> str:
    """The precision of the configuration with vLLM."""
    return "float32" if smoke.device == "cpu" else "bfloat16"


def sleep(smoke: Smoke) -> str:
    """Let vLLM sleep and wake beside a policy."""
    if smoke.device == "cpu":
        raise Skipped("vLLM frees memory on GPUs only")
    return checks.check_sleep(smoke.ask("sleep", DATASET, MODEL / "model", smoke.device, vllm_precision(smoke)))


def graded(policy: str) -> Path:
    """The graded answers of a policy."""
    return Path(f"results/evaluations/{policy}/held-out.greedy.graded.parquet")


def evaluate(smoke: Smoke) -> str:
    """Evaluate with transformers: the reference, and a policy trained from it."""
    policies = ("made", "torch.seed-0")
    smoke.make(*map(graded, policies))
    return ", ".join(f"{policy}: {right(smoke, policy):.0%} right" for policy in policies)


def evaluate_with_vllm(smoke: Smoke) -> str:
    """Evaluate the reference with vLLM, and compare its greedy answers with those of transformers."""
    smoke.make(graded("with-vllm"), vllm=True)
    said = f"{right(smoke, 'with-vllm'):.0%} right"
    smoke.make(graded("made"))
    answers = (graded(policy).with_name("held-out.greedy.generations.parquet") for policy in ("made", "with-vllm"))
    return f"{said}; {checks.check_alike(*(smoke.folder / path for path in answers))}"


def right(smoke: Smoke, policy: str) -> float:
    """The share of a policy's right answers."""
    return checks.check_graded(smoke.folder / graded(policy), smoke.folder / "results/benchmarks/held-out.parquet")


@dataclass(frozen=True)
class Check:
    """One line of the output.

    Attributes:
        name: what is checked.
        run: checks it, and returns what to show.
        needs: packages without which it is skipped.
        trains: the run that it trains, for the table.
        longest_share: of the time of all checks, after which it has failed.
    """

    name: str
    run: Callable[[Smoke], str]
    needs: Sequence[str] = ()
    trains: str | None = None
    longest_share: float = LONGEST_SHARE


CHECKS = (
    Check("model", model),
    Check("torch", train("torch"), trains="torch"),
    Check("stop and resume", resume),
    Check("LoRA", train("lora"), ("peft",), "lora"),
    Check("DeepSpeed, ZeRO 2", train("zero-2", zero_stage=2), ("deepspeed",), "zero-2"),
    Check(
        "DeepSpeed, ZeRO 2, offload",
        train("zero-2-offload", zero_stage=2, offload_optimizer=True),
        ("deepspeed",),
        "zero-2-offload",
    ),
    Check("evaluation, transformers", evaluate),
    Check("sampling, vLLM", sample, ("vllm",)),
    Check("training, vLLM", train("vllm", vllm=True), ("vllm",), "vllm"),
    Check("evaluation, vLLM", evaluate_with_vllm, ("vllm",)),
    Check("sleep and wake, vLLM", sleep, ("vllm",)),
)


def wanted(check: Check, patterns: Sequence[str]) -> bool:
    """Whether a check was asked for; the model always is, as the others need it."""
    return check.run is model or any(fnmatch.fnmatch(check.name, pattern) for pattern in patterns)


@dataclass
class Outcomes:
    """The numbers of checks by outcome, and the runs that were trained."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("passed", "FAILED", "skipped"), 0))
    trained: list[str] = field(default_factory=list)


def run(smoke: Smoke, chosen: Sequence[Check]) -> int:
    """Make the checks, print their lines, the table and the sums; return how many failed."""
    outcomes = Outcomes()
    for check in chosen:
        started = time.monotonic()
        outcome, words = outcome_of(check, smoke)
        outcomes.counts[outcome] += 1
        print(f"{outcome:8s}{check.name:28s}{time.monotonic() - started:5.0f} s  {words}", flush=True)
        if outcome == "passed" and check.trains is not None:
            outcomes.trained.append(check.trains)
        if outcome == "FAILED" and check.run is model:
            break  # the others need it
    for line in table_of(smoke, outcomes.trained):
        print(line)
    passed, failed, skipped = outcomes.counts.values()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed


def outcome_of(check: Check, smoke: Smoke) -> tuple[str, str]:
    """Make a check: ``passed``, ``FAILED`` or ``skipped``, and what to show."""
    missing = [name for name in check.needs if importlib.util.find_spec(name) is None]
    if missing:
        return "skipped", f"{', '.join(missing)} is not installed"
    if time.monotonic() > smoke.deadline:
        return "FAILED", "not reached when the time was over (--minutes)"
    smoke.begin(check.longest_share)
    try:
        return "passed", check.run(smoke)
    except Skipped as reason:
        return "skipped", str(reason)
    except Failed as reason:
        return "FAILED", str(reason)
    except Exception as error:  # a file that is missing or has another form: the other checks go on
        return "FAILED", f"{type(error).__name__}: {' '.join(str(error).split())}"


def table_of(smoke: Smoke, runs: Sequence[str]) -> list[str]:
    """The table of speeds and memory; nothing without trainings."""
    if not runs:
        return []
    from bench.smoke_table import estimate_of, row_of, table

    folders = {run: smoke.folder / training(run) for run in runs}
    model_folder, dataset = smoke.folder / MODEL / "model", smoke.folder / DATASET
    rows = [row_of(run, folder, estimate_of(folder, model_folder, dataset)) for run, folder in folders.items()]
    note = "On a CPU, the measured memory is that of the whole process, with Python, torch and vLLM themselves."
    return ["", *table(rows), *([note] if smoke.device == "cpu" else []), ""]


if __name__ == "__main__":
    sys.exit(main())
