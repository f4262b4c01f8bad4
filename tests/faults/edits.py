"""Something is edited between a kill and the resumed training."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from faults.cases import TRAINING, Case, Outcome, last_line, refusal_problem, resumed
from faults.jobs import Job
from faults.lab import Lab, differing, digests, planned
from faults.processes import Moment, Running

OBJECTIVE = "workflow_scripts/astarpo/objectives/a_star_po.py"
REWARD = "rollout.reward_B - rollout.value_scale * rollout.v_star_B"
ANEW = "starts over and says why; ends as an undisturbed run of what was edited"
RESUMES = "resumes; the same outputs"
KILL = Moment(part="step-000003.partial")  # there are checkpoints of two steps


def cases(_seed: int) -> Iterator[Case]:
    """Edits that count and edits that do not."""
    for name, edit, said in (
        ("the objective", _other_objective, "other code (astarpo/objectives/a_star_po.py)"),
        ("a setting", None, "other settings (hyperparameters.beta2)"),
    ):
        yield Case("edit", TRAINING, name, ANEW, partial(edited, edit=edit, said=said), (TRAINING,))
    yield Case("edit", TRAINING, "the version of torch", ANEW, other_torch, (TRAINING,))
    yield Case("edit", TRAINING, "a comment and a docstring", RESUMES, cosmetic, (TRAINING,))
    yield Case("edit", TRAINING, "after it was planned", "refused in one line", after_planning, (TRAINING,))


def _other_objective(tree: Path) -> None:
    _replace(tree / OBJECTIVE, REWARD, "rollout.v_star_B - rollout.reward_B")


def _cosmetic(tree: Path) -> None:
    path = tree / OBJECTIVE
    path.write_text(path.read_text(encoding="utf-8") + "\n\n# A comment.\n", encoding="utf-8")
    _replace(path, '"""', '"""Edited. ')


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{path}: there is no {old!r}, so nothing can be edited")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def _copy(lab: Lab, folder: str, edit: Callable[[Path], None] | None) -> Path:
    """A copy of the tree with an edit."""
    shutil.copytree(lab.tree / "workflow_scripts", Path(folder) / "workflow_scripts")
    if edit is not None:
        edit(Path(folder))
    return Path(folder)


def edited(lab: Lab, edit: Callable[[Path], None] | None, said: str) -> Outcome:
    """Kill a training, edit the code, or without an edit a setting, and go on."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as copy, lab.project(TRAINING) as folder:
        tree = _copy(lab, copy, edit)
        job = planned(tree, **({} if edit else {"beta2": 0.7}))[0][TRAINING]
        lab.run(TRAINING, folder, KILL)
        with Running(job, folder, tree) as running:
            ended = running.end()
        with lab.project(TRAINING) as other, Running(job, other, tree) as running:
            running.end()
            alone = digests(other, job.outputs)
        different = differing(alone, digests(folder, job.outputs))
        if ended.status != 0 or different:
            return Outcome(f"{last_line(ended)}; other {', '.join(different)}", good=False)
        if not lab.differences(TRAINING, folder):
            return Outcome("the edit made no difference, so this shows nothing", good=False)
        return _said_why(ended.output, said, resumed(ended))


def _said_why(output: str, said: str, how: str) -> Outcome:
    lines = [line for line in output.splitlines() if line.startswith("starting over: ")]
    good = len(lines) == 1 and lines[0].endswith(said) and how == "began anew"
    return Outcome(f"{how}: {'; '.join(lines) or 'without a word'}", good)


def other_torch(lab: Lab) -> Outcome:
    """Leave the checkpoints as another version of torch would have left them, and go on."""
    with lab.project(TRAINING) as folder:
        lab.run(TRAINING, folder, KILL)
        record = next((folder / (lab.jobs[TRAINING].scratch or "")).glob("*/made_from.json"))
        origin = json.loads(record.read_text(encoding="utf-8"))
        origin["versions"]["torch"] = "0.0.1"
        record.write_text(json.dumps(origin), encoding="utf-8")
        name = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]
        record.parent.rename(record.parent.with_name(name))
        ended = lab.run(TRAINING, folder)
        different = lab.differences(TRAINING, folder)
        if ended.status != 0 or different:
            return Outcome(f"{last_line(ended)}; other {', '.join(different)}", good=False)
        return _said_why(ended.output, "other versions (torch)", resumed(ended))


def cosmetic(lab: Lab) -> Outcome:
    """Kill a training, add a comment and change a docstring, and go on."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as copy, lab.project(TRAINING) as folder:
        tree = _copy(lab, copy, _cosmetic)
        lab.run(TRAINING, folder, KILL)
        with Running(planned(tree)[0][TRAINING], folder, tree) as running:
            ended = running.end()
        different = lab.differences(TRAINING, folder)
        good = ended.status == 0 and not different and resumed(ended) == "resumed from step 2"
        return Outcome(f"{resumed(ended)}; other outputs: {', '.join(different) or 'none'}; {last_line(ended)}", good)


def after_planning(lab: Lab) -> Outcome:
    """Edit the objective after the job was planned: it must not start."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as copy, lab.project(TRAINING) as folder:
        job: Job = lab.jobs[TRAINING]
        with Running(job, folder, _copy(lab, copy, _other_objective)) as running:
            ended = running.end()
        problem = refusal_problem(ended)
        started = [path for path in job.outputs if (folder / path).exists()]
        return Outcome(problem or last_line(ended), good=problem is None and not started)
