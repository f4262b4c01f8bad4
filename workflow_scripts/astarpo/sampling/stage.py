"""Sampling as a stage: many prompts, several samples each, one row per response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
        model_folder, trust_remote_code: of the model, and whether its own code may run.
        rows: of a data set or benchmark.
        sample_indices, seed_of: which samples of each prompt, and (prompt_id, sample_index) -> seed.
        sampling, policy_settings, machine: of the stage.
        title: label of the progress bar.
        parts: has the responses that are already drawn, and gets the new ones; None keeps nothing.
        start: an engine that further calls use as well, with the same policy; None starts one for this call.

    Returns:
        Rows with the columns of `columns.GENERATIONS`, prompts in their order, samples in theirs.

    Raises:
        InputError: prompts and responses are longer than the model can read, or all prompts than the limit.
    """
    drawing = _Drawing(model_folder, trust_remote_code, sampling, policy_settings, machine, title)
    bare = drawing.policy_without_weights()
    prompts = _encode(bare, rows, policy_settings.prompting)
    requests = [Request(name, k, seed_of(name, k), token_ids) for name, token_ids in prompts for k in sample_indices]
    drawn = _drawn_before(requests, parts)
    missing = [request for request in requests if _key(request) not in drawn]
    if missing:
        drawn |= drawing.draw(bare, missing, len(requests), parts, start or OneStart(0))
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


@dataclass(frozen=True)
class _Drawing:
    """What responses are drawn with; the attributes are arguments of `sample_rows`."""

    model_folder: str | Path
    trust_remote_code: bool
    sampling: SamplingSettings
    policy_settings: GenerationSettings
    machine: MachineSettings
    title: str

    def policy_without_weights(self) -> Policy:
        """Load the small files, after checks of lengths and engine."""
        longest = self.policy_settings.prompting.max_prompt_tokens
        check_folder(self.model_folder, [Length(self.title, longest, self.sampling.max_new_tokens)])
        check_engine(self.policy_settings.sampling_engine, self.model_folder)
        return load_policy_without_weights(self.model_folder, trust_remote_code=self.trust_remote_code)

    def draw(
        self, bare: Policy, requests: Sequence[Request], total: int, parts: Parts | None, start: OneStart
    ) -> dict[tuple[str, int], GenerationRow]:
        """Draw what is missing of ``total`` responses, after a check of the memory; return rows by `_key`."""
        if not start.has_started:  # what is free now is what the engine left
            self._check_memory(requests)
        policy = bare
        if self.policy_settings.sampling_engine == "transformers":
            policy = load_policy(self.model_folder, self.machine.device, trust_remote_code=self.trust_remote_code)
        with Progress(self.title, total, "responses", done=total - len(requests)) as progress:
            completions = self._completions(policy, requests, progress, parts, start)
        return {_key(one): _row(one, completion) for one, completion in zip(requests, completions, strict=True)}

    def _check_memory(self, requests: Sequence[Request]) -> None:
        """Refuse a model that does not fit with the keys and values of what is to be drawn."""
        shape = shape_of_folder(self.model_folder)
        if shape is None:
            return
        longest = max(len(request.prompt_token_ids) for request in requests)
        sizes = (longest, self.sampling.max_new_tokens, len(requests))
        engine, precision = self.policy_settings.sampling_engine, self.policy_settings.precision
        total = total_bytes(self.machine.device)

        def with_machine(changed: MachineSettings) -> Estimate:
            return sampling_estimate(shape, changed, precision, *sizes, engine, total)

        remedies = partial(fewer_at_a_time, self.machine, with_machine)
        check_fits(str(self.model_folder), with_machine(self.machine), self.machine.device, remedies)

    def _completions(
        self, policy: Policy, requests: Sequence[Request], progress: Progress, parts: Parts | None, start: OneStart
    ) -> list[Completion]:
        """Draw responses; ``parts`` gets those of each batch as soon as it is finished."""

        def on_batch(places: Sequence[int], finished: Sequence[Completion]) -> None:
            if parts is not None:
                parts.add(_row(requests[place], drawn) for place, drawn in zip(places, finished, strict=True))
            progress.advance(len(places))

        settings = self.policy_settings
        torch.set_num_threads(settings.torch_threads)
        longest = settings.prompting.max_prompt_tokens + self.sampling.max_new_tokens
        sampler = start.get(longest, partial(self._sampler, policy))
        try:
            return sampler.sample(requests, self.sampling, on_batch)
        except FloatingPointError as error:
            reason = f"{error}; its weights are damaged, or its training diverged"
            raise InputError(f"{self.model_folder}: {reason}") from error

    def _sampler(self, policy: Policy, longest: int) -> Sampler:
        engine, precision = self.policy_settings.sampling_engine, self.policy_settings.precision
        return make_sampler(
            engine, self.model_folder, policy, self.machine, precision=precision, longest=longest, trained=False
        )


def _drawn_before(requests: Sequence[Request], parts: Parts | None) -> dict[tuple[str, int], GenerationRow]:
    """Rows by `_key`; say how many of the requests have one."""
    drawn = {} if parts is None else {(row["prompt_id"], row["sample_index"]): row for row in _found(parts)}
    if drawn:
        kept = sum(_key(request) in drawn for request in requests)
        print(f"{kept:,} of {len(requests):,} responses were drawn before and are kept", flush=True)
    return drawn


def _found(parts: Parts) -> list[GenerationRow]:
    return [cast(GenerationRow, row) for row in parts.found]


def _key(request: Request) -> tuple[str, int]:
    return request.prompt_id, request.sample_index


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
