"""When a training ends: after its steps or tokens, or early because it has collapsed."""

from __future__ import annotations

from collections.abc import Sequence

from astarpo.common.errors import InputError
from astarpo.training.history import Row
from astarpo.training.settings import Ending, TrainSettings

ROUNDING = 1e-9  # 0.8 - 0.7 is not more than 0.1


def ending(rows: Sequence[Row], settings: TrainSettings) -> Ending | None:
    """Say which setting ends the training with the last of its steps.

    It depends on nothing but the rows, so a training that has ended does not go on when it is started again.

    Args:
        rows: metrics of all steps so far, from step 0 on; the last may lack its validation.
        settings: of the run.

    Returns:
        The setting; None if the training goes on.
    """
    last, limit, stop = rows[-1], settings.max_generated_tokens, settings.stop_when
    if (last["step"] or 0) >= settings.steps:
        return "steps"
    if limit is not None and sum(row.get("generated_tokens") or 0 for row in rows) >= limit:
        return "max_generated_tokens"
    if stop is None:
        return None
    if stop.validation_below_best is not None:
        rewards = [reward for row in rows if (reward := row.get("validation_reward")) is not None]
        if _stays_below_best(rewards, stop.validation_below_best, stop.for_validations):
            return "validation_below_best"
    if stop.kl_per_sequence is not None and (last.get("kl_per_sequence") or 0.0) > stop.kl_per_sequence:
        return "kl_per_sequence"
    return None


def check_can_judge(settings: TrainSettings, validated: bool) -> None:
    """Refuse settings that judge a training by its validation if there is none.

    Args:
        settings: of the run.
        validated: whether it has validation prompts.

    Raises:
        InputError: names the setting.
    """
    for key in () if validated else settings.needs_validation():
        raise InputError(f"{key}: needs validation prompts; set `validation` in the run, or leave {key} out")


def _stays_below_best(rewards: Sequence[float], fall: float, count: int) -> bool:
    """Whether each of the last ``count`` rewards is more than ``fall`` below the best one; none of them is the best."""
    return bool(rewards) and all(max(rewards) - reward > fall + ROUNDING for reward in rewards[-count:])
