"""From settings to a reference policy."""

from __future__ import annotations

from typing import Any

from astarpo.columns import DATASET
from astarpo.errors import InputError
from astarpo.files import read_table
from astarpo.prompts import PromptSettings, encode_prompts
from astarpo.references.memory import (
    LOADING,
    WARM_START,
    check_fits,
    parameters_of_folder,
    parameters_on_hub,
)
from astarpo.references.models import Policy, build_scratch_policy, load_hub_policy, load_policy
from astarpo.references.supervised import WarmStartSettings, warm_start


def prepare_reference(
    settings: dict[str, Any], dataset: str | None, device: str
) -> tuple[Policy, dict[str, Any]]:
    """Make or load a model and warm it up if the settings say so.

    Args:
        settings: ``source``, ``warm_start`` (or None) and, with a warm start, ``prompting`` and ``torch_threads``.
        dataset: parquet file with worked solutions, for the warm start.
        device: where to train.

    Returns:
        The policy, and facts for its manifest: parameters, warm-start loss, prompts left out.

    Raises:
        InputError: the model cannot be had, or the data set has no worked solutions.
    """
    import torch

    if settings["warm_start"] is not None:
        torch.set_num_threads(settings["torch_threads"])
    _check_fits(settings["source"], settings["warm_start"] is not None, device)
    policy = make_policy(settings["source"], device)
    facts: dict[str, Any] = {"parameters": sum(p.numel() for p in policy.model.parameters())}
    if settings["warm_start"] is None:
        return policy, facts
    if dataset is None:
        raise InputError("the warm start needs --dataset")
    prompts, solutions, too_long = _worked_solutions(
        policy, dataset, PromptSettings(**settings["prompting"])
    )
    steps = {**settings["warm_start"], "adam_betas": tuple(settings["warm_start"]["adam_betas"])}
    losses = warm_start(policy, prompts, solutions, WarmStartSettings(**steps))
    tail = losses[-max(len(losses) // 20, 1) :]
    return policy, {
        **facts,
        "warm_start_loss": sum(tail) / len(tail),
        "warm_start_prompts": len(prompts),
        "warm_start_prompts_too_long": too_long,
    }


def _check_fits(source: dict[str, Any], warm_start: bool, device: str) -> None:
    if source["kind"] == "local":
        name, parameters = source["path"], parameters_of_folder(source["path"])
    elif source["kind"] == "hub":
        name, parameters = source["id"], parameters_on_hub(source["id"], source["revision"])
    else:
        return
    check_fits(name, parameters, WARM_START if warm_start else LOADING, device)


def make_policy(source: dict[str, Any], device: str) -> Policy:
    """Make or load the model that a source describes.

    Args:
        source: ``{"kind": "scratch" | "hub" | "local", ...}`` as in the configuration.
        device: where to put it.
    """
    options = {key: value for key, value in source.items() if key != "kind"}
    if source["kind"] == "scratch":
        policy = build_scratch_policy(**options)
        return Policy(policy.model.to(device), policy.tokenizer, policy.end_token_ids)
    if source["kind"] == "hub":
        return load_hub_policy(options["id"], options["revision"], device)
    return load_policy(options["path"], device)


def _worked_solutions(
    policy: Policy, dataset: str, prompting: PromptSettings
) -> tuple[list[list[int]], list[str], int]:
    rows = read_table(dataset, DATASET).to_pylist()
    for row in rows:
        if row["worked_solution"] is None:
            raise InputError(
                f"{dataset}: prompt {row['prompt_id']} has no worked solution; name its column in "
                "columns.worked_solution, or leave the warm start out"
            )
    encoded = encode_prompts(
        policy.tokenizer,
        [row["prompt_id"] for row in rows],
        [row["prompt"] for row in rows],
        prompting,
    )
    if not encoded.prompt_ids:
        raise InputError(
            f"{dataset}: all {len(rows)} prompts are longer than max_prompt_tokens "
            f"({prompting.max_prompt_tokens}); raise it in the reference's entry"
        )
    solutions = {row["prompt_id"]: row["worked_solution"] for row in rows}
    kept = [solutions[prompt_id] for prompt_id in encoded.prompt_ids]
    return encoded.token_ids, kept, len(encoded.too_long)
