"""Sampling as a stage: many prompts, several samples each, one row per response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import torch

from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.common.progress import Progress
from astarpo.data.prompts import encode_prompts
from astarpo.model.lengths import Length, check_folder
from astarpo.model.loading import load_policy, load_policy_without_weights
from astarpo.model.memory import LOADING, check_fits, parameters_of_folder
from astarpo.model.policy import Policy
from astarpo.sampling import Completion, Request
from astarpo.sampling.engines import check_engine, make_sampler
from astarpo.sampling.settings import GenerationSettings, SamplingSettings


class PromptRow(TypedDict):
    """The columns of a data set or benchmark that sampling reads."""

    prompt_id: str
    prompt: str


class GenerationRow(TypedDict):
    """The columns of `columns.GENERATIONS`."""

    prompt_id: str
    sample_index: int
    seed: int
    response_token_ids: list[int]
    response: str
    finish_reason: str
    n_tokens: int
    logprob_sum: float


def sample_rows(
    model_folder: str | Path,
    rows: Sequence[PromptRow],
    sample_indices: Sequence[int],
    seed_of: Callable[[str, int], int],
    sampling: SamplingSettings,
    policy_settings: GenerationSettings,
    machine: MachineSettings,
    title: str,
) -> list[GenerationRow]:
    """Draw the given samples of every prompt with the model of a folder.

    Args:
        model_folder: written by `prepare_reference` or `train_policy`.
        rows: of a data set or benchmark.
        sample_indices: which samples of each prompt.
        seed_of: (prompt_id, sample_index) -> seed.
        sampling: temperature, nucleus, longest response.
        policy_settings: engine, precision and prompting, from the stage's settings.
        machine: ``device``, ``sampling_batch`` and the settings that begin with ``sampler_``.
        title: label of the progress bar.

    Returns:
        Rows with the columns of `columns.GENERATIONS`, prompts in their order, samples in theirs.

    Raises:
        InputError: prompts and responses are longer than the model can read, or every prompt is longer than the
            reference's ``max_prompt_tokens``.
    """
    longest = policy_settings.prompting.max_prompt_tokens
    check_folder(model_folder, [Length(title, longest, sampling.max_new_tokens)])
    check_engine(policy_settings.sampling_engine, model_folder)
    check_fits(str(model_folder), parameters_of_folder(model_folder), LOADING, machine.device)
    policy = (
        load_policy(model_folder, machine.device)
        if policy_settings.sampling_engine == "transformers"
        else load_policy_without_weights(model_folder)
    )
    encoded = encode_prompts(
        policy.tokenizer,
        [row["prompt_id"] for row in rows],
        [row["prompt"] for row in rows],
        policy_settings.prompting,
    )
    if encoded.too_long:
        print(
            f"{len(encoded.too_long)} prompts are longer than max_prompt_tokens and are left out",
            flush=True,
        )
    if rows and not encoded.prompt_ids:
        raise InputError(
            f"all {len(rows)} prompts are longer than max_prompt_tokens "
            f"({policy_settings.prompting.max_prompt_tokens}); raise it in the reference's entry"
        )
    requests = [
        Request(prompt_id, sample_index, seed_of(prompt_id, sample_index), token_ids)
        for prompt_id, token_ids in zip(encoded.prompt_ids, encoded.token_ids, strict=True)
        for sample_index in sample_indices
    ]
    completions = _draw(model_folder, policy, requests, sampling, policy_settings, machine, title)
    return [_row(request, drawn) for request, drawn in zip(requests, completions, strict=True)]


def _draw(
    model_folder: str | Path,
    policy: Policy,
    requests: Sequence[Request],
    sampling: SamplingSettings,
    policy_settings: GenerationSettings,
    machine: MachineSettings,
    title: str,
) -> list[Completion]:
    from astarpo.model.precision import autocast

    torch.set_num_threads(policy_settings.torch_threads)
    sampler = make_sampler(
        policy_settings.sampling_engine,
        model_folder,
        policy,
        machine,
        precision=policy_settings.precision,
        longest=policy_settings.prompting.max_prompt_tokens + sampling.max_new_tokens,
        trained=False,
    )
    with (
        Progress(title, len(requests), "responses") as progress,
        autocast(machine.device, policy_settings.precision),
    ):
        try:
            return sampler.sample(requests, sampling, on_batch=progress.advance)
        except FloatingPointError as error:
            raise InputError(f"{model_folder}: {error}; its weights are damaged, or its training diverged") from error


def _row(request: Request, drawn: Completion) -> GenerationRow:
    return {
        "prompt_id": request.prompt_id,
        "sample_index": request.sample_index,
        "seed": request.seed,
        "response_token_ids": drawn.token_ids,
        "response": drawn.text,
        "finish_reason": drawn.finish_reason,
        "n_tokens": len(drawn.token_ids),
        "logprob_sum": drawn.logprob_sum,
    }
