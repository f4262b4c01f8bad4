"""Training prompts with their V*, and the prompts of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from astarpo.common.columns import DATASET, SELECTIONS, VALUES
from astarpo.common.errors import InputError
from astarpo.common.files import read_table
from astarpo.data.prompts import encode_prompts
from astarpo.data.settings import PromptSettings

STAGE_ONE = ("n", "n_correct", "surprisal_sum", "surprisal_of_correct")  # what stage 1 tells beside V*


@dataclass(frozen=True)
class TrainingPrompt:
    """A prompt: its tokens, gold answer and verifier, and its estimated optimal value, if any.

    The value was estimated from ``n`` responses of the reference, ``n_correct`` of them correct. ``surprisal_sum`` sums
    their surprisals -ln pi_ref(y|x), and ``surprisal_of_correct`` those of the correct ones; None if they came without
    log-probabilities. ``text`` is the prompt as in the data set, without a chat template.
    """

    prompt_id: str
    token_ids: list[int]
    gold: str
    verifier: str
    v_star: float | None
    n: int | None = None
    n_correct: int | None = None
    surprisal_sum: float | None = None
    surprisal_of_correct: float | None = None
    text: str = ""


def load_training_prompts(
    tokenizer: PreTrainedTokenizerBase,
    dataset: str,
    prompting: PromptSettings,
    values: str | None = None,
    selection: str | None = None,
) -> tuple[list[TrainingPrompt], dict[str, int]]:
    """Load prompts, and join V* and the selection by ``prompt_id``.

    Args:
        tokenizer: of the policy.
        dataset, values, selection: parquet files; the last two may be None.
        prompting: how prompts are encoded.

    Returns:
        The prompts in the order of the data set, and the number left out by reason.

    Raises:
        InputError: a prompt has no row in ``values`` or ``selection``, or none is left.
    """
    rows = read_table(dataset, DATASET).to_pylist()
    keep = _column(selection, SELECTIONS, "keep")
    v_star, *known = (_column(values, VALUES, name) for name in ("v_star", *STAGE_ONE))
    encoded = encode_prompts(tokenizer, [row["prompt_id"] for row in rows], [row["prompt"] for row in rows], prompting)
    tokens = dict(zip(encoded.prompt_ids, encoded.token_ids, strict=True))
    left_out = {"too_long": len(encoded.too_long), "not_selected": 0, "no_value": 0}
    prompts = []
    for row in rows:
        prompt_id = row["prompt_id"]
        if prompt_id not in tokens:
            continue
        if selection is not None and not _look_up(keep, prompt_id, selection):
            left_out["not_selected"] += 1
        elif values is not None and _look_up(v_star, prompt_id, values) is None:
            left_out["no_value"] += 1
        else:
            prompts.append(
                TrainingPrompt(
                    prompt_id,
                    tokens[prompt_id],
                    row["gold"],
                    row["verifier"],
                    v_star.get(prompt_id),
                    **{name: column.get(prompt_id) for name, column in zip(STAGE_ONE, known, strict=True)},
                    text=row["prompt"],
                )
            )
    if not prompts:
        raise InputError(f"{dataset}: no prompts are left to train on; left out: {left_out}")
    return prompts, left_out


def _column(path: str | None, schema: pa.Schema, name: str) -> Mapping[str, Any]:
    if path is None:
        return {}
    table = read_table(path, schema)
    return dict(zip(table["prompt_id"].to_pylist(), table[name].to_pylist(), strict=True))


def _look_up(column: Mapping[str, Any], prompt_id: str, path: str) -> Any:
    if prompt_id not in column:
        raise InputError(f"{path}: no row for prompt {prompt_id}; it was made from another data set")
    return column[prompt_id]


def prompts_of_step(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Choose the prompts of a step: a new order in each epoch, without repeats or an incomplete last batch.

    A pure function of its arguments, so checkpoints need not store it.

    Args:
        count: number of prompts.
        batch: prompts in a batch, at most ``count``.
        step: counted from 1.
        seed: of the run.

    Returns:
        ``batch`` indices below ``count``.
    """
    epoch, position = divmod(step - 1, count // batch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch : (position + 1) * batch].tolist()
