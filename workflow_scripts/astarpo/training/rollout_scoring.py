"""The passes over a rollout before its updates, and the rollout as methods receive it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from astarpo.objectives import METHODS, takes_old_from_update, uses_reference, uses_v_star
from astarpo.objectives.rollout import Rollout
from astarpo.sampling import Request, Sampler
from astarpo.training import sampler_gap
from astarpo.training.engine import TorchEngine
from astarpo.training.microbatches import MicroBatch, shares_of
from astarpo.training.phases import PhaseClock
from astarpo.training.rollouts import Responses, Ungraded
from astarpo.training.running_statistics import RunningStatistics
from astarpo.training.settings import TrainSettings


def first_gaps(
    engine: TorchEngine, sampler: Sampler, requests: Sequence[Request], settings: TrainSettings
) -> dict[str, float]:
    """Measure the sampler gaps before training.

    Args:
        engine, sampler: with the same weights.
        requests: some of the first rollout's.
        settings: of the run.

    Returns:
        The gaps, see `sampler_gap.summarise`.

    Raises:
        InputError: they are above `max_sampler_gap`.
    """
    drawn = sampler.sample(requests, settings.sampling)
    responses = [one.token_ids for one in drawn]
    prompts = [one.prompt_token_ids for one in requests]
    micro_batches = engine.micro_batches(prompts, responses, range(len(requests)))
    width = max(map(len, responses))
    log_probs_BT = engine.log_probs("policy", micro_batches, len(requests), width)
    sampled_BT = sampler_gap.pad([one.log_probs for one in drawn], width)
    mask_BT = sampler_gap.pad([[1.0] * len(one) for one in responses], width).bool()
    gaps = sampler_gap.summarise([sampler_gap.token_gaps(log_probs_BT, sampled_BT, mask_BT)])
    sampler_gap.check(gaps, settings.max_sampler_gap, 0)
    return gaps


@dataclass(frozen=True)
class Passes:
    """What a method needs of the models for B rows of a rollout, before its first update; no grade is among it.

    Attributes:
        rows: the B rows.
        micro_batches: of each update; together they contain each of the B rows once.
        reference_BT: the reference's log-probabilities, which every method needs for its metrics.
        iterate_BT: the policy's, if they take a pass of their own.
        anchor_BT: of the policy that the method's log-ratio refers to; NaN if the update gives them.
        values_BT: the critic's values, if there is one.
    """

    rows: list[int]
    micro_batches: list[list[MicroBatch]]
    reference_BT: Tensor
    iterate_BT: Tensor | None
    anchor_BT: Tensor
    values_BT: Tensor | None

    @property
    def all_micro_batches(self) -> list[MicroBatch]:
        """Those of all updates."""
        return [one for of_update in self.micro_batches for one in of_update]


def make_passes(
    engine: TorchEngine, settings: TrainSettings, drawn: Ungraded, rows: Sequence[int], clock: PhaseClock
) -> Passes:
    """Make the passes without gradient that a method needs.

    Args:
        engine: holds the weights, before the first update on this rollout.
        settings: of the run.
        drawn: the responses.
        rows: the B rows to train on.
        clock: for the phases described in `training.metrics`.
    """
    method = METHODS[settings.method]
    # Passes and updates share the micro-batches: in another one, a row's padding and last bits would differ.
    by_update = _micro_batches(engine, settings, drawn, rows)
    micro_batches = [one for of_update in by_update for one in of_update]
    size = (len(rows), max(len(drawn.completions[row].token_ids) for row in rows))
    phase = "reference" if uses_reference(settings.method, settings.hyperparameters) else "metrics"
    with clock.phase(phase):
        reference_BT = engine.log_probs("reference", micro_batches, *size)
        clock.passes[phase] += 1
    iterate_BT, anchor_BT = None, reference_BT
    with clock.phase("reference"):
        if (method.needs_old_log_probs or method.anchor == "iterate") and not _old_from_update(settings):
            iterate_BT = _iterate(engine, settings, drawn, rows, micro_batches, size)
            clock.passes["reference"] += settings.pipeline is None
        if method.anchor == "lagged":
            anchor_BT = engine.log_probs("lagged", micro_batches, *size)
            clock.passes["reference"] += 1
        values_BT = engine.values(micro_batches, *size)
        clock.passes["critic"] += values_BT is not None
    if method.anchor == "iterate":
        # NaN where the update gives them: a method that used them would stop at once.
        anchor_BT = torch.full_like(reference_BT, torch.nan) if iterate_BT is None else iterate_BT
    return Passes(list(rows), by_update, reference_BT, iterate_BT, anchor_BT, values_BT)


def build_rollout(settings: TrainSettings, drawn: Responses, passes: Passes, statistics: RunningStatistics) -> Rollout:
    """Join passes and grades to a rollout.

    Args:
        settings: of the run.
        drawn: responses with their grades.
        passes: over the rows to train on.
        statistics: of earlier rollouts.
    """
    rows, device = passes.rows, passes.reference_BT.device
    groups = _groups(drawn, rows)
    v_star_B = None
    if uses_v_star(settings.method, settings.hyperparameters):
        v_star = [statistics.v_star(drawn.prompts[row]) for row in rows]
        v_star_B = torch.tensor(v_star, device=device)
    return Rollout(
        prompt_ids=[drawn.prompts[row].prompt_id for row in rows],
        group_ids_B=torch.tensor(groups, device=device),
        mask_BT=_mask(passes.all_micro_batches, passes.reference_BT),
        old_log_probs_BT=passes.iterate_BT,
        anchor_log_probs_BT=passes.anchor_BT,
        v_star_B=v_star_B,
        reward_B=torch.tensor([drawn.grades[row].reward for row in rows], device=device),
        old_values_BT=passes.values_BT,
        running_mean=statistics.running_mean,
        value_scale=statistics.value_scale.factor,
        old_from_update=_old_from_update(settings),
    )


def _old_from_update(settings: TrainSettings) -> bool:
    return settings.pipeline is None and takes_old_from_update(settings.method, settings.updates_per_rollout)


def _iterate(
    engine: TorchEngine,
    settings: TrainSettings,
    drawn: Ungraded,
    rows: Sequence[int],
    micro_batches: Sequence[MicroBatch],
    size: tuple[int, int],
) -> Tensor:
    """The log-probabilities of the policy that drew: of the current one, or in a pipeline as its sampler said."""
    if settings.pipeline is None:
        return engine.log_probs("policy", micro_batches, *size)
    drawn_BT = sampler_gap.pad([drawn.completions[row].log_probs for row in rows], size[1])
    return drawn_BT.to(engine.policy.model.device)


def _micro_batches(
    engine: TorchEngine, settings: TrainSettings, drawn: Ungraded, rows: Sequence[int]
) -> list[list[MicroBatch]]:
    groups = _groups(drawn, rows)
    responses = [drawn.completions[row].token_ids for row in rows]
    prompts = [drawn.prompts[row].token_ids for row in rows]
    kept_groups = groups if METHODS[settings.method].pairs else None
    shares = shares_of(groups, settings.updates_per_rollout)
    return [engine.micro_batches(prompts, responses, share, kept_groups) for share in shares if share]


def _groups(drawn: Ungraded, rows: Sequence[int]) -> list[int]:
    return [drawn.group_ids[row] for row in rows]


def _mask(micro_batches: Sequence[MicroBatch], like_BT: Tensor) -> Tensor:
    """Reassemble the mask of all rows from the micro-batches."""
    mask_BT = torch.zeros(like_BT.shape, dtype=torch.bool, device=like_BT.device)
    for micro_batch in micro_batches:
        width = micro_batch.batch.mask_BT.shape[1]
        mask_BT[micro_batch.rows_B, :width] = micro_batch.batch.mask_BT
    return mask_BT
