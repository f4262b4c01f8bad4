"""The output files of a finished training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from astarpo.common.columns import ROLLOUTS
from astarpo.common.files import write_json, write_table, write_text
from astarpo.common.machine import MachineSettings
from astarpo.common.provenance import TrainingProvenance, manifest
from astarpo.common.writing import new_folder
from astarpo.model.policy import Policy
from astarpo.training.finished import keep
from astarpo.training.history import History
from astarpo.training.kept_steps import load_weights
from astarpo.training.metrics import TIMINGS, metrics_schema
from astarpo.training.model_card import model_card

Weights = dict[str, Tensor]  # by name, in fp32


@dataclass(frozen=True)
class FinishedRun:
    """A trained policy with its history and facts about its prompts.

    Attributes:
        exportable: turns trained weights into a policy and its whole weights, merging adapters if there are any. The
            engine may hold the policy's own weights in another precision, or sharded.
        weights: the trained weights to export; needed in the first process only.
        history, facts: for the tables and the manifest.
        scratch: the folder of this training's unfinished work.
        kept: a file of trained weights for each step of `keep.steps`; None if the training did not reach it.
        is_first: whether this process writes the results.
    """

    exportable: Callable[[Weights], tuple[Policy, Weights]]
    weights: Weights
    history: History
    facts: dict[str, object]
    scratch: Path
    kept: Mapping[int, Path | None] = field(default_factory=dict)
    is_first: bool = True


def export(
    finished: FinishedRun,
    made_from: TrainingProvenance,
    machine: MachineSettings,
    outputs: dict[str, str],
    seconds: float,
) -> None:
    """Write the kept steps, model folder, metrics, timings and kept rollouts, and finally the manifest.

    Then the checkpoints are deleted, see `training.finished`.

    Args:
        finished: result of `train`.
        made_from: provenance of the run.
        machine: recorded in the manifests.
        outputs: paths of ``model``, ``metrics``, ``timings``, ``rollouts`` and ``manifest``, and of ``steps``, a folder
            with ``{step}/model`` and ``{step}/manifest.json`` for each kept step.
        seconds: wall-clock time of this process; the timings also cover earlier processes of a resumed run.
    """
    if not finished.is_first:
        return
    folders = {step: Path(outputs["steps"]) / str(step) for step in finished.kept}
    recorded = {"machine": machine.model_dump(mode="json")}
    for step, folder in folders.items():
        path, facts = finished.kept[step], _facts_of_step(finished, step)
        weights = finished.weights if path is None else load_weights(path)
        _write_model(folder / "model", finished, weights, made_from, facts)
        described = manifest(made_from, {"model": folder / "model"}, seconds, **recorded, **facts)
        write_json(folder / "manifest.json", described)
    _write_model(outputs["model"], finished, finished.weights, made_from, finished.facts)
    schema = metrics_schema(finished.history.method_metrics)
    write_table(outputs["metrics"], finished.history.metrics, schema)
    write_table(outputs["timings"], finished.history.timings, TIMINGS)
    write_table(outputs["rollouts"], finished.history.rollouts, ROLLOUTS)
    written: dict[str, str | Path] = {name: outputs[name] for name in ("model", "metrics", "rollouts")}
    written |= {f"step-{step}": folder / "model" for step, folder in folders.items()}
    write_json(outputs["manifest"], manifest(made_from, written, seconds, **recorded, **finished.facts))
    keep(finished.scratch, outputs)


def _facts_of_step(finished: FinishedRun, step: int) -> dict[str, object]:
    """The facts about a kept step: where the training ended before it, its folder has the weights of the model folder.

    Its evaluation is planned before anyone knows where the training ends, so there must be a model; the tables leave
    its scores out.
    """
    reached = finished.kept[step] is not None
    exported = step if reached else finished.facts["exported_step"]
    return {**finished.facts, "step": step, "reached": reached, "exported_step": exported}


def _write_model(
    path: str | Path,
    finished: FinishedRun,
    weights: Weights,
    made_from: TrainingProvenance,
    facts: Mapping[str, object],
) -> None:
    """Write a model folder with its card."""
    policy, whole = finished.exportable(weights)
    with new_folder(path) as partial:
        policy.save(partial, whole)
        write_text(partial / "README.md", model_card(made_from, finished.history.metrics, facts))
