"""The training loop, shared by all methods: sample responses, grade them, score them, update."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from astarpo.common.errors import InputError, Interrupted
from astarpo.common.machine import MachineSettings
from astarpo.common.progress import Progress
from astarpo.common.stopping import deferred_signals
from astarpo.memory.shape import ModelShape
from astarpo.model import checkpoints
from astarpo.model.finite import check_weights
from astarpo.objectives import METHODS, build_loss, build_prepare, uses_v_star
from astarpo.rewards.ahead import GradingAhead
from astarpo.rewards.grading import Grader
from astarpo.sampling import Sampler
from astarpo.sampling.second_process import SamplerProcess
from astarpo.training import sampler_gap
from astarpo.training.best_weights import BestWeights
from astarpo.training.endings import check_can_judge, ending
from astarpo.training.engine import TorchEngine
from astarpo.training.history import History, Row
from astarpo.training.kept_steps import KeptSteps
from astarpo.training.metrics import shown, step_metrics
from astarpo.training.phases import PhaseClock
from astarpo.training.pipeline import RolloutsAhead
from astarpo.training.prompts import TrainingPrompt, prompts_of_step
from astarpo.training.response_weights import response_weights
from astarpo.training.rollout_scoring import Passes, build_rollout, first_gaps, make_passes
from astarpo.training.rollouts import Responses, Ungraded, draw_responses, requests_for, rows_of_all
from astarpo.training.running_statistics import RunningStatistics
from astarpo.training.settings import EARLY, TrainSettings
from astarpo.training.speed import Read, Speed
from astarpo.training.states import TrainingState
from astarpo.training.stopping import divergence_explained
from astarpo.training.trace import Trace
from astarpo.training.trackers import followers
from astarpo.training.validation import Validated, Validation
from astarpo.training.value_scale import surprisal_ratio

SCORED_FIRST = 16  # prompts of the first rollout whose sampler gaps are measured before training


class Trainer:
    """One run with one seed.

    Args:
        engine: holds the reference, and the policy, which starts from the reference's weights.
        sampler: samples from the policy's current weights.
        prompts, validation: training and validation prompts.
        settings, machine: of the run.
        seed: of the run.
        shape: of the model, if it is known, to compute how much of the device's peak is used.
        grader: of its responses, closed at the end of `run`; None: a new one.
    """

    def __init__(
        self,
        engine: TorchEngine,
        sampler: Sampler,
        prompts: Sequence[TrainingPrompt],
        validation: Sequence[TrainingPrompt],
        settings: TrainSettings,
        machine: MachineSettings,
        seed: int,
        shape: ModelShape | None = None,
        grader: Grader | None = None,
    ) -> None:
        if len(prompts) < settings.prompts_per_batch:
            raise InputError(
                f"a batch takes {settings.prompts_per_batch} prompts, but only {len(prompts)} are left to train "
                "on: lower prompts_per_batch, add prompts, or select less strictly"
            )
        check_can_judge(settings, bool(validation))
        self.settings, self.machine, self.seed = settings, machine, seed
        self.prompts, self.sampler = prompts, sampler
        self.engine, self.world = engine, engine.world
        self.method = METHODS[settings.method]
        self.prepare = build_prepare(settings.method, settings.hyperparameters)
        cap = None if settings.pipeline is None else settings.pipeline.importance_cap
        self.loss = build_loss(settings.method, settings.hyperparameters, settings.sampling.max_new_tokens, cap)
        self.best = BestWeights()
        self.kept = KeptSteps(settings.kept_steps())
        self.statistics = RunningStatistics(prompts, settings.hyperparameters, settings.estimate)
        self.grader = grader or Grader(settings.grading, machine.grading_workers)
        self.validation = Validation(validation, engine, self.grader, settings, seed)
        self.history = History(tuple(self.method.metrics))
        self.ahead = None
        if isinstance(sampler, SamplerProcess):
            self.ahead = RolloutsAhead(sampler, self.grader, settings.sampling, settings.responses_per_prompt, seed)
        self.speed = Speed(shape, settings, self.world, machine.device)

    def run(self, scratch: Path, traces: Path | None = None) -> History:
        """Train to the end, resuming from the newest checkpoint in ``scratch`` if there is one.

        Args:
            scratch: a folder for this run only (see `origins.Origin`).
            traces: the folder for the profiler's trace; None: ``scratch``.

        Returns:
            Metrics and timings of all steps.

        Raises:
            Interrupted: stopped by a signal or by ``max_minutes``, after a checkpoint.
            InputError: the training diverged.
        """
        first = self._restore(scratch) + 1
        self.sampler.weights_changed()  # a sampler with its own copy, such as vLLM, still has the reference's
        deadline = time.monotonic() + 60 * (self.machine.max_minutes or float("inf"))
        settings = self.settings
        self.grader.check_canaries(prompt.verifier for prompt in (*self.prompts, *self.validation.prompts))
        with (
            self.grader,
            deferred_signals() as stopping,
            followers(self.machine.trackers, scratch, first, self.history.rows(), self.world.is_first) as show,
            Progress(f"train seed {self.seed}", settings.steps, "steps", done=first - 1) as progress,
            Trace(self.machine.profile_steps if self.world.is_first else None, traces or scratch) as trace,
        ):
            if not self.history.metrics:
                with divergence_explained(0, scratch):
                    self._validate_only()
                show(self.history.rows()[-1])
            self.speed.start()
            step = first - 1
            while ending(self.history.metrics, self.settings) is None:
                step += 1
                with trace.step(step), divergence_explained(step, scratch):
                    metrics = self._step(step)
                    self.kept.update(step, self.engine, scratch)
                show(self.history.rows()[-1])
                progress.advance(1, **shown(metrics))
                # Every process must stop after the same step: a signal may reach only one of them, and clocks differ.
                stop = self.world.any(stopping() or time.monotonic() > deadline)
                last = ending(self.history.metrics, self.settings)
                if stop or last or step % self.machine.checkpoint_every == 0:
                    self._save(scratch, step)
                if last in EARLY:
                    print(f"ends early, after step {step} of {settings.steps}: stop_when.{last}", flush=True)
                if stop and not last:
                    raise Interrupted(f"after step {step} of {settings.steps}; run the same command to resume")
        return self.history

    def exported(self) -> tuple[int, dict[str, Tensor]]:
        """Return the step to export and its trained weights by name, whole, in the first process; others may have none.

        Every process must call this.
        """
        if self.best.step is not None:
            return self.best.step, self.best.weights
        return len(self.history.metrics) - 1, self.engine.full_weights()

    def _record(
        self, step: int, metrics: Mapping[str, float | None], timings: Mapping[str, float | None], validated: Validated
    ) -> None:
        self.history.append(step, {**metrics, "validation_reward": validated.reward}, timings, validated.rollouts)
        if self.settings.keep is not None and self.settings.keep.best is not None:
            self.best.update(self.history.metrics, self.engine)

    def _step(self, step: int) -> Row:
        settings, clock = self.settings, PhaseClock()
        if self.method.anchor == "lagged" and (step - 1) % int(settings.hyperparameters["sync_every"]) == 0:
            self.engine.synchronise()
        drawn, passes = self._rollout(self._prompts_of(step), step, clock)
        rows = passes.rows
        value_scale = self.statistics.value_scale
        with clock.phase("reference"):
            weights, scale = response_weights(value_scale, self.engine, drawn, rows), value_scale.factor
        updates = self._update(drawn, passes, step, clock)
        # Before the checkpoint: a run must not resume from a step on another policy's responses.
        first = self.history.metrics[1] if len(self.history.metrics) > 1 else None  # from checkpoints, too
        if self.ahead is None:  # otherwise the policy has moved since
            sampler_gap.check(updates[0], settings.max_sampler_gap, step, first)
        self.sampler.weights_changed()
        # After the updates: a baseline that depends on these rewards would bias their gradient.
        rewards = [drawn.grades[row].reward or 0.0 for row in rows]
        self.statistics.learn([drawn.prompts[row] for row in rows], rewards, weights)
        metrics = step_metrics(drawn.grades, drawn.completions, updates, self.method.metrics)
        metrics["value_scale"] = scale if uses_v_star(settings.method, settings.hyperparameters) else None
        metrics["surprisal_ratio"] = surprisal_ratio(drawn.surprisals(rows), rewards)
        validated = Validated()
        if step % settings.validate_every == 0 or ending([*self.history.metrics, {"step": step, **metrics}], settings):
            validated = self.validation.run(step, self.sampler, clock)
        read = Read.of(self.engine, passes.all_micro_batches)
        self._record(step, metrics, self.speed.timings(clock, drawn, rows, read), validated)
        return metrics

    def _prompts_of(self, step: int) -> list[TrainingPrompt]:
        indices = prompts_of_step(len(self.prompts), self.settings.prompts_per_batch, step, self.seed)
        return [self.prompts[index] for index in indices]

    def _draw(self, prompts: Sequence[TrainingPrompt], step: int, grading: GradingAhead, clock: PhaseClock) -> Ungraded:
        sampling, size = self.settings.sampling, self.settings.responses_per_prompt
        with self.engine.sampling_weights():
            if self.method.anchor == "lagged":
                self.sampler.weights_changed()
            own = self.world.share(prompts)
            with clock.phase("generate"):
                drawn = draw_responses(self.sampler, own, size, sampling, grading, (self.seed, "train", step))
            with clock.phase("generate", waits=True):  # for processes with longer responses
                return drawn.of_all(self.world, prompts, size)

    def _rollout(self, prompts: Sequence[TrainingPrompt], step: int, clock: PhaseClock) -> tuple[Responses, Passes]:
        """Draw and grade responses; passes that need no grade are made while the last responses are graded."""
        settings, size = self.settings, self.settings.responses_per_prompt
        pending = None if self.ahead is None else self.ahead.take(step, prompts)
        with GradingAhead(self.grader) if pending is None else pending.grading as grading:
            if pending is None:
                drawn = self._draw(prompts, step, grading, clock)
            else:
                with clock.phase("generate", waits=True):
                    drawn = pending.ungraded()
            if self.ahead is not None and step < settings.steps:
                self.ahead.begin(step + 1, self._prompts_of(step + 1))
            self.sampler.rest()  # the updates need its memory
            passes = make_passes(self.engine, settings, drawn, range(len(drawn.completions)), clock)
            with clock.phase("grade", waits=True):
                graded = drawn.graded(rows_of_all(self.world, grading.grades(), size))
        rows = graded.trainable_rows(size)
        if not rows:
            raise InputError(f"step {step}: every grade is null, so nothing is left to train on")
        if rows != passes.rows:  # micro-batches and their last bits depend on the rows
            clock.passes.clear()  # those were in vain
            passes = make_passes(self.engine, settings, drawn, rows, clock)
        return graded, passes

    def _update(self, drawn: Responses, passes: Passes, step: int, clock: PhaseClock) -> list[dict[str, float]]:
        """Make all optimizer steps on one rollout: targets on the whole batch, then the updates."""
        rollout, reference_BT = build_rollout(self.settings, drawn, passes, self.statistics), passes.reference_BT
        targets = self.prepare(rollout)
        sampled_BT = sampler_gap.pad([drawn.completions[row].log_probs for row in passes.rows], reference_BT.shape[1])
        sampled_BT = sampled_BT.to(reference_BT.device)
        if self.ahead is not None:
            targets["sampled_BT"] = sampled_BT
        lagged: dict[str, float] = {}
        if self.method.anchor == "lagged":  # the policy that sampled is the anchor
            anchor_BT = rollout.anchor_log_probs_BT
            lagged = sampler_gap.summarise([sampler_gap.token_gaps(anchor_BT, sampled_BT, rollout.mask_BT)])
        updates_before = (step - 1) * self.settings.updates_per_rollout
        limit = self.settings.max_generated_tokens
        left = None if limit is None else 1 - self.history.generated_tokens() / limit
        with clock.phase("update"):
            updates = [
                self.engine.update(
                    micro_batches,
                    targets,
                    reference_BT,
                    self.loss,
                    updates_before + number,
                    # After the first update the policy is no longer the one that sampled.
                    sampled_BT if number == 0 and not lagged else None,
                    left,
                )
                for number, micro_batches in enumerate(passes.micro_batches)
            ]
        return [{**updates[0], **lagged}, *updates[1:]]

    def _validate_only(self) -> None:
        clock = PhaseClock()
        validated = self.validation.run(0, self.sampler, clock)
        some = self._prompts_of(1)[:SCORED_FIRST]
        gaps = first_gaps(self.engine, self.sampler, requests_for(some, 1, (self.seed, "train", 1)), self.settings)
        self._record(0, {**gaps}, {"validate_seconds": clock.seconds["validate"]}, validated)

    def _restore(self, scratch: Path) -> int:
        newest = checkpoints.load_newest(scratch, self.world)
        if newest is None:
            return 0
        step, state = newest
        self.engine.load_state(state["engine"])
        self.engine.load_shards(checkpoints.folder_of(scratch, step))
        self.statistics.load_state(state["statistics"])
        self.best.load_state(state["best"], self.world.is_first)
        self.kept.load_state(state["kept"], scratch, self.world.is_first)
        self.history = History(tuple(self.method.metrics), **json.loads(state["history"]))
        if self.ahead is not None and step < self.settings.steps:
            self.ahead.load_state(state["pending"], step + 1, self._prompts_of(step + 1))
        print(f"resuming from the checkpoint of step {step}", flush=True)
        return step

    def _save(self, scratch: Path, step: int) -> None:
        tables = ("metrics", "timings", "rollouts")
        history = json.dumps({name: getattr(self.history, name) for name in tables})
        state: TrainingState = {
            "engine": self.engine.state(),
            "statistics": self.statistics.state(),
            "history": history,
            "best": self.best.state(),
            "kept": self.kept.state(),
            "pending": "" if self.ahead is None else self.ahead.state(),
        }
        with divergence_explained(step, scratch):
            check_weights(self.engine.policy.model.state_dict())
        checkpoints.save(scratch, step, state, self.world, self.engine.save_shards)
