"""Sampling as a stage: many prompts, several samples each, one row per response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict, cast

import torch

from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.common.parts import Parts
from astarpo.common.progress import Progress
from astarpo.data.prompts import encode_prompts
from astarpo.data.settings import PromptSettings
from astarpo.memory.check import check_fits, shape_of_folder
from astarpo.memory.parts import Estimate
from astarpo.memory.stages import fewer_at_a_time, sampling_estimate
from astarpo.model.lengths import Length, check_folder
from astarpo.model.loading import load_policy, load_policy_without_weights
from astarpo.model.memory import total_bytes
from astarpo.model.policy import Policy
from astarpo.sampling import Completion, Request, Sampler
from astarpo.sampling.engines import OneStart, check_engine, make_sampler
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
    parts: Parts | None = None,
    trust_remote_code: bool = False,
    start: OneStart | None = None,
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
        parts: has the responses that are already drawn, and gets the new ones; None keeps nothing.
        trust_remote_code: whether the model's own code may run.
        start: an engine that further calls use as well, with the same policy; None starts one for this call.

    Returns:
        Rows with the columns of `columns.GENERATIONS`, prompts in their order, samples in theirs.

    Raises:
        InputError: prompts and responses are longer than the model can read, or every prompt is longer than the
            reference's ``max_prompt_tokens``.
    """
    longest = policy_settings.prompting.max_prompt_tokens
    check_folder(model_folder, [Length(title, longest, sampling.max_new_tokens)])
    check_engine(policy_settings.sampling_engine, model_folder)
    bare = load_policy_without_weights(model_folder, trust_remote_code=trust_remote_code)
    requests = [
        Request(prompt_id, sample_index, seed_of(prompt_id, sample_index), token_ids)
        for prompt_id, token_ids in _encode(bare, rows, policy_settings.prompting)
        for sample_index in sample_indices
    ]
    drawn = {} if parts is None else {(row["prompt_id"], row["sample_index"]): row for row in _found(parts)}
    missing = [request for request in requests if _key(request) not in drawn]
    if drawn:
        kept = len(requests) - len(missing)
        print(f"{kept:,} of {len(requests):,} responses were drawn before and are kept", flush=True)
    if missing:
        shared = start or OneStart(0)
        if not shared.has_started:  # what is free now is what the engine left
            _check_memory(model_folder, missing, sampling, policy_settings, machine)
        policy = bare
        if policy_settings.sampling_engine == "transformers":
            policy = load_policy(model_folder, machine.device, trust_remote_code=trust_remote_code)
        with Progress(title, len(requests), "responses", done=len(requests) - len(missing)) as progress:
            completions = _draw(
                model_folder, policy, missing, sampling, policy_settings, machine, progress, parts, shared
            )
        drawn.update({_key(one): _row(one, completion) for one, completion in zip(missing, completions, strict=True)})
    return [drawn[_key(request)] for request in requests]


def kept_responses(count: int) -> str:
    """Say what is kept of a stage that was stopped, and how to go on."""
    return f"{count:,} finished responses are kept; run the same command to draw the others"


def _encode(policy: Policy, rows: Sequence[PromptRow], prompting: PromptSettings) -> list[tuple[str, list[int]]]:
    """(prompt_id, token ids) of each prompt that is short enough."""
    ids, prompts = [row["prompt_id"] for row in rows], [row["prompt"] for row in rows]
    encoded = encode_prompts(policy.tokenizer, ids, prompts, prompting)
    if encoded.too_long:
        print(f"{len(encoded.too_long)} prompts are longer than max_prompt_tokens and are left out", flush=True)
    if rows and not encoded.prompt_ids:
        raise InputError(
            f"all {len(rows)} prompts are longer than max_prompt_tokens ({prompting.max_prompt_tokens}); raise it in "
            "the reference's entry"
        )
    return list(zip(encoded.prompt_ids, encoded.token_ids, strict=True))


def _check_memory(
    model_folder: str | Path,
    requests: Sequence[Request],
    sampling: SamplingSettings,
    policy_settings: GenerationSettings,
    machine: MachineSettings,
) -> None:
    """Refuse a model that does not fit with the keys and values of what is to be drawn."""
    shape = shape_of_folder(model_folder)
    if shape is None:
        return
    longest = max(len(request.prompt_token_ids) for request in requests)
    sizes = (longest, sampling.max_new_tokens, len(requests))
    engine, precision = policy_settings.sampling_engine, policy_settings.precision
    total = total_bytes(machine.device)

    def with_machine(changed: MachineSettings) -> Estimate:
        return sampling_estimate(shape, changed, precision, *sizes, engine, total)

    remedies = partial(fewer_at_a_time, machine, with_machine)
    check_fits(str(model_folder), with_machine(machine), machine.device, remedies)


def _found(parts: Parts) -> list[GenerationRow]:
    return [cast(GenerationRow, row) for row in parts.found]


def _key(request: Request) -> tuple[str, int]:
    return request.prompt_id, request.sample_index


def _draw(
    model_folder: str | Path,
    policy: Policy,
    requests: Sequence[Request],
    sampling: SamplingSettings,
    policy_settings: GenerationSettings,
    machine: MachineSettings,
    progress: Progress,
    parts: Parts | None,
    start: OneStart,
) -> list[Completion]:
    """Draw responses; ``parts`` gets those of each batch as soon as it is finished."""
    from astarpo.model.precision import autocast

    def on_batch(places: Sequence[int], finished: Sequence[Completion]) -> None:
        if parts is not None:
            parts.add(_row(requests[place], drawn) for place, drawn in zip(places, finished, strict=True))
        progress.advance(len(places))

    def make(longest: int) -> Sampler:
        return make_sampler(
            policy_settings.sampling_engine,
            model_folder,
            policy,
            machine,
            precision=policy_settings.precision,
            longest=longest,
            trained=False,
        )

    torch.set_num_threads(policy_settings.torch_threads)
    sampler = start.get(policy_settings.prompting.max_prompt_tokens + sampling.max_new_tokens, make)
    with autocast(machine.device, policy_settings.precision):
        try:
            return sampler.sample(requests, sampling, on_batch)
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
