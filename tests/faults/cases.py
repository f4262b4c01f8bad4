"""What a case is, and what may come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from faults.lab import Lab
from faults.processes import Ended

TRAININGS = {
    method: f"train_policy {method} 0" for method in ("a-star-po", "oapl", "grpo", "ppo", "rebel", "reinforce")
}
TRAINING = TRAININGS["a-star-po"]
DATASET = "prepare_dataset sums"
CONTAMINATION = "check_contamination sums held-out"
REFERENCE = "prepare_reference tiny"
SAMPLING = "sample_reference tiny sums s0-p0"
GRADING = "grade_samples tiny sums s0-p0"
ANSWERS = "generate_answers a-star-po.seed-0 held-out sampled"
GRADES = "grade_answers a-star-po.seed-0 held-out sampled"
SELECTION = "select_prompts solved"
VALUES = "estimate_values v-star"
TABLES = "summarize"
PAGE = "show_examples"
ROLLOUTS = "show_rollouts"
FIGURE = "plot accuracy"
SAME = "the same outputs, bit for bit"


@dataclass(frozen=True)
class Outcome:
    """What happened.

    Attributes:
        happened: in words.
        good: whether it is what must happen; None: the case could not be tried here, and ``happened`` says why.
    """

    happened: str
    good: bool | None = True

    @property
    def verdict(self) -> str:
        """A word for the table."""
        return {True: "ok", False: "RED", None: "skipped"}[self.good]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        fault: what is done, in a word; cases of one fault form a group.
        stage: the job that it is done to.
        moment: where or when.
        expected: what must come of it.
        run: tries it.
        jobs: names of further jobs whose finished outputs the case needs.
    """

    fault: str
    stage: str
    moment: str
    expected: str
    run: Callable[[Lab], Outcome]
    jobs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For ``--only``."""
        return f"{self.fault} / {self.stage} / {self.moment}"

    def tried(self, lab: Lab) -> Outcome:
        """Try the case; whatever goes wrong with it is a red row."""
        try:
            return self.run(lab)
        except Exception as error:
            return Outcome(f"{type(error).__name__}: {error}", good=False)


def last_line(ended: Ended) -> str:
    """The last line of a job's log, shortened."""
    lines = ended.output.strip().splitlines()
    text = lines[-1] if lines else "(no word)"
    return text if len(text) <= 160 else f"{text[:157]}..."


def refusal_problem(ended: Ended, prefix: str = "error: ", statuses: tuple[int, ...] = (1,)) -> str | None:
    """What is wrong with the way in which a job refused to go on; None: it is one line and the right exit status."""
    said = [line for line in ended.output.splitlines() if line.startswith(prefix)]
    if "Traceback" in ended.output:
        return f"a traceback: {last_line(ended)}"
    if ended.status not in statuses:
        return f"exit status {ended.status}: {last_line(ended)}"
    return None if len(said) == 1 else f"{len(said)} lines begin with {prefix!r}: {last_line(ended)}"


def finished_well(lab: Lab, name: str, folder: object, ended: Ended, happened: str) -> Outcome:
    """The outcome of a job that was disturbed and then ran to its end: its outputs must be what they always are."""
    from pathlib import Path

    if ended.status != 0:
        return Outcome(f"{happened}; then it failed: {last_line(ended)}", good=False)
    different = lab.differences(name, Path(str(folder)))
    if different:
        return Outcome(f"{happened}; then other outputs: {', '.join(different)}", good=False)
    return Outcome(f"{happened}; {resumed(ended)}, then the same outputs")


def resumed(ended: Ended) -> str:
    """From where a job went on, by its log."""
    if "already finished: its outputs are put in place again" in ended.output:
        return "had finished"
    found = re.search(r"resuming (?:the warm start )?from the checkpoint of step (\d+)", ended.output)
    if found:
        return f"resumed from step {found[1]}"
    kept = re.search(r"([\d,]+) of [\d,]+ responses were drawn before and are kept", ended.output)
    return f"kept {kept[1]} responses" if kept else "began anew"
