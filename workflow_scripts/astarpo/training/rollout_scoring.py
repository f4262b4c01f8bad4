"""The passes over a rollout before its updates, and the rollout as methods receive it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from astarpo.objectives import METHODS, takes_old_from_update, uses_reference, uses_v_star
from astarpo.objectives.rollout import Rollout
from astarpo.sampling import Request, Sampler
from astarpo.training import sampler_gap
from astarpo.training.engine import TorchEngine
from astarpo.training.microbatches import MicroBatch
from astarpo.training.rollouts import PhaseClock, Responses
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


def build_rollout(
    engine: TorchEngine,
    settings: TrainSettings,
    drawn: Responses,
    rows: Sequence[int],
    micro_batches: Sequence[MicroBatch],
    statistics: RunningStatistics,
    clock: PhaseClock,
) -> tuple[Rollout, Tensor]:
    """Make the passes without gradient that a method needs, and collect the results in one batch.

    Args:
        engine: holds the weights, before the first update on this rollout.
        settings: of the run.
        drawn: responses with their grades.
        rows: the B rows to train on.
        micro_batches: contain each of the B rows once.
        statistics: of earlier rollouts.
        clock: for the phases described in `training.metrics`.

    Returns:
        The rollout, and ``reference_log_probs_BT``, which every method needs for its metrics.
    """
    method = METHODS[settings.method]
    completions = [drawn.completions[row] for row in rows]
    size = (len(rows), max(len(completion.token_ids) for completion in completions))
    phase = "reference" if uses_reference(settings.method, settings.hyperparameters) else "metrics"
    with clock.phase(phase):
        reference_BT = engine.log_probs("reference", micro_batches, *size)
    iterate_BT, anchor_BT = None, reference_BT
    old_from_update = takes_old_from_update(settings.method, settings.updates_per_rollout)
    with clock.phase("reference"):
        if (method.needs_old_log_probs or method.anchor == "iterate") and not old_from_update:
            iterate_BT = engine.log_probs("policy", micro_batches, *size)
        if method.anchor == "lagged":
            anchor_BT = engine.log_probs("lagged", micro_batches, *size)
        values_BT = engine.values(micro_batches, *size)
    if method.anchor == "iterate":
        # NaN where the update gives them: a method that used them would stop at once.
        anchor_BT = torch.full_like(reference_BT, torch.nan) if iterate_BT is None else iterate_BT
    device = reference_BT.device
    v_star_B = None
    if uses_v_star(settings.method, settings.hyperparameters):
        v_star = [statistics.v_star(drawn.prompts[row]) for row in rows]
        v_star_B = torch.tensor(v_star, device=device)
    rollout = Rollout(
        prompt_ids=[drawn.prompts[row].prompt_id for row in rows],
        group_ids_B=torch.tensor([drawn.group_ids[row] for row in rows], device=device),
        mask_BT=_mask(micro_batches, reference_BT),
        old_log_probs_BT=iterate_BT,
        anchor_log_probs_BT=anchor_BT,
        v_star_B=v_star_B,
        reward_B=torch.tensor([drawn.grades[row].reward for row in rows], device=device),
        old_values_BT=values_BT,
        running_mean=statistics.running_mean,
        value_scale=statistics.value_scale.factor,
        old_from_update=old_from_update,
    )
    return rollout, reference_BT


def _mask(micro_batches: Sequence[MicroBatch], like_BT: Tensor) -> Tensor:
    """Reassemble the mask of all rows from the micro-batches."""
    mask_BT = torch.zeros(like_BT.shape, dtype=torch.bool, device=like_BT.device)
    for micro_batch in micro_batches:
        width = micro_batch.batch.mask_BT.shape[1]
        mask_BT[micro_batch.rows_B, :width] = micro_batch.batch.mask_BT
    return mask_BT
