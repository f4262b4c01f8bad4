"""Building a reference policy from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from astarpo.common.columns import DATASET
from astarpo.common.errors import InputError
from astarpo.common.failures import remembered
from astarpo.common.files import read_table
from astarpo.data.prompts import appended_tokens, encode_prompts
from astarpo.data.settings import ChatSettings, PromptSettings
from astarpo.memory.check import check_fits
from astarpo.memory.stages import loading_estimate, states_estimate
from astarpo.model.attention import SDPA
from astarpo.model.chat_template import check_chat_template, turn_end_token
from astarpo.model.end_tokens import describe_end_tokens, end_token_ids, tokenizer_end, tokens_of_texts
from astarpo.model.lengths import Length, check_lengths, position_limit
from astarpo.model.loading import (
    check_hub_code,
    hub_policy_without_weights,
    load_hub_policy,
    load_policy,
    load_policy_without_weights,
    place,
)
from astarpo.model.memory import parameters_of_folder, parameters_on_hub
from astarpo.model.policy import Policy
from astarpo.model.safety import check_safe
from astarpo.model.saving import check_can_save, repair_generation_config
from astarpo.model.scratch import build_scratch_policy
from astarpo.stage_one.gguf import as_folder
from astarpo.stage_one.settings import (
    HubModel,
    LocalModel,
    ModelSource,
    PackagedModel,
    ReferenceSettings,
    Scratch,
    WarmStartSettings,
)
from astarpo.stage_one.warm_start import encode_solutions, warm_start


def prepare_reference(
    settings: ReferenceSettings,
    dataset: str | None,
    device: str,
    lengths: Sequence[Length] = (),
    folder: Path | None = None,
    checkpoint_every: int = 25,
    name: str = "<name>",
) -> tuple[Policy, dict[str, object]]:
    """Make or load a model, and warm-start it if the settings ask for that.

    Anything that would break a later stage is refused before the weights are read.

    Args:
        settings: of the stage.
        dataset: parquet file with worked solutions, for the warm start.
        device: where to train.
        lengths: the longest inputs that the configuration will give the model.
        folder, checkpoint_every: of the warm start's checkpoints, see `warm_start`.
        name: of the reference, for messages.

    Returns:
        The policy, and facts for its manifest: parameters, end tokens, warm-start loss, prompts left out.

    Raises:
        InputError: the model is unavailable or cannot be used as the configuration asks, or the data set has no
            worked solutions.
        Interrupted: the warm start was stopped by a signal, after a checkpoint.
    """
    if settings.torch_threads is not None:
        torch.set_num_threads(settings.torch_threads)
    with as_folder(settings.source) as source:
        policy = _checked_policy(settings, source, device, lengths, f"references.{name}.source.trust_remote_code")
    repaired = repair_generation_config(policy.model)
    if repaired is not None:
        print(repaired, flush=True)
    check_can_save(policy.model, policy.tokenizer)
    facts: dict[str, object] = {
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "end_token_ids": policy.end_token_ids,
        "trust_remote_code": policy.trust_remote_code,
    }
    if settings.warm_start is None:
        return policy, facts
    with remembered(folder):
        return policy, {**facts, **_warm_start(policy, settings, dataset, folder, checkpoint_every)}


def _checked_policy(
    settings: ReferenceSettings, source: ModelSource, device: str, lengths: Sequence[Length], trust_setting: str
) -> Policy:
    """Load or make the model after all checks, with the tokens that end its responses."""
    check_source(source, trust_setting)
    named = _name(settings.source)  # not the folder that a GGUF file was converted to
    ends = _check(source, named, settings, lengths)
    _check_fits(source, named, settings.warm_start, device)
    return replace(make_policy(source, device, settings.attention), end_token_ids=ends)


def check_source(source: ModelSource, setting: str) -> None:
    """Refuse a model with code of its own that is not trusted; a local folder also because of pickled weights.

    Args:
        source: as in the configuration.
        setting: the key that allows the code, for the message.

    Raises:
        InputError: the model would run code.
    """
    if isinstance(source, LocalModel):
        check_safe(source.path, source.trust_remote_code, setting)
    elif isinstance(source, HubModel):
        check_hub_code(source.id, source.revision, source.trust_remote_code, setting)


def _check(source: ModelSource, name: str, settings: ReferenceSettings, lengths: Sequence[Length]) -> list[int]:
    """Check a model by its small files; print what ends its responses, and return those tokens."""
    bare = _without_weights(source, settings.attention)
    limit = _positions(bare)
    print(f"positions: {'no limit known, so none is checked' if limit is None else limit}")
    check_lengths(name, limit, lengths)
    first = tokenizer_end(bare.tokenizer)
    if settings.chat_template:
        check_chat_template(bare.tokenizer, settings.system_prompt)
        of_turn = turn_end_token(bare.tokenizer, bare.end_token_ids)
        if of_turn is None:
            print("the chat template has no special token that ends an assistant's turn")
        first = first if of_turn is None else of_turn
    of_texts = tokens_of_texts(bare.tokenizer, settings.end_texts)
    ends = list(dict.fromkeys([*of_texts, *end_token_ids(bare.model, bare.tokenizer, first)]))
    print(describe_end_tokens(bare.model, bare.tokenizer, ends))
    appended = appended_tokens(bare.tokenizer)
    if appended:
        shown = bare.tokenizer.convert_ids_to_tokens(appended)
        print(f"the tokenizer appends {shown} to every text; prompts are encoded without it")
    print(end="", flush=True)
    return ends


def _positions(policy: Policy) -> int | None:
    return position_limit(policy.model.config.get_text_config(decoder=True).to_dict())


def _name(source: ModelSource) -> str:
    if isinstance(source, HubModel):
        return source.id
    if isinstance(source, PackagedModel):
        return source.name
    if isinstance(source, LocalModel):
        return source.path if source.gguf_file is None else f"{source.path}/{source.gguf_file}"
    return "the model from scratch"


def _without_weights(source: ModelSource, attention: str) -> Policy:
    if isinstance(source, HubModel):
        return hub_policy_without_weights(source.id, source.revision, attention, source.trust_remote_code)
    if isinstance(source, LocalModel):
        return load_policy_without_weights(source.path, attention, source.trust_remote_code)
    return make_policy(source, "cpu", attention)


def _check_fits(source: ModelSource, name: str, warm_start: WarmStartSettings | None, device: str) -> None:
    if isinstance(source, LocalModel):
        parameters = parameters_of_folder(source.path)
    elif isinstance(source, HubModel):
        parameters = parameters_on_hub(source.id, source.revision)
    else:
        return
    if parameters is not None:
        if warm_start is None:
            needs = loading_estimate(parameters)
        else:
            needs = states_estimate(parameters, warm_start.precision)
        check_fits(f"the model {name!r}", needs, device)


def make_policy(source: ModelSource, device: str, attention: str = SDPA) -> Policy:
    """Make or load the model that a source describes.

    Args:
        source: as in the configuration.
        device: where to place it.
        attention: one of transformers' attention implementations.
    """
    if isinstance(source, Scratch):
        policy = build_scratch_policy(**source.model_dump(exclude={"kind"}), attention=attention)
        return replace(policy, model=place(policy.model, device))
    if isinstance(source, HubModel):
        return load_hub_policy(source.id, source.revision, device, attention, source.trust_remote_code)
    if isinstance(source, PackagedModel):
        raise TypeError("a packaged model is loaded from the folder that `as_folder` makes of it")
    return load_policy(source.path, device, attention, source.trust_remote_code)


def _warm_start(
    policy: Policy, settings: ReferenceSettings, dataset: str | None, folder: Path | None, checkpoint_every: int
) -> dict[str, object]:
    """Train the policy in place; return facts for the manifest."""
    if dataset is None:
        raise InputError("the warm start needs --dataset")
    if settings.warm_start is None or settings.max_prompt_tokens is None:
        raise InputError("--settings: a warm start needs `max_prompt_tokens`, as prompts are encoded for it")
    prompting = PromptSettings(**settings.only(ChatSettings), max_prompt_tokens=settings.max_prompt_tokens)
    prompts, solutions, too_long = _worked_solutions(policy, dataset, prompting)
    fitting = _within_positions(policy, prompts, solutions)
    left_out = len(prompts) - len(fitting)
    if left_out:
        print(
            f"{left_out} worked solutions, with their prompts, have more tokens than the model has positions; they are "
            "left out",
            flush=True,
        )
    prompts, solutions = [prompts[row] for row in fitting], [solutions[row] for row in fitting]
    history = warm_start(policy, prompts, solutions, settings.warm_start, folder, checkpoint_every)
    losses = history.losses
    tail = losses[-max(len(losses) // 20, 1) :]
    return {
        "warm_start_loss": sum(tail) / len(tail),
        "warm_start_seconds": history.seconds,
        "warm_start_prompts": len(prompts),
        "warm_start_prompts_too_long": too_long,
        "warm_start_solutions_too_long": left_out,
    }


def _within_positions(policy: Policy, prompts: Sequence[Sequence[int]], solutions: Sequence[str]) -> list[int]:
    """Rows whose prompt and solution, end token included, fit the model's positions."""
    limit = _positions(policy)
    lengths = [
        len(prompt) + len(response)
        for prompt, response in zip(prompts, encode_solutions(policy, solutions), strict=True)
    ]
    return [row for row, length in enumerate(lengths) if limit is None or length <= limit]


def _worked_solutions(
    policy: Policy, dataset: str, prompting: PromptSettings
) -> tuple[list[list[int]], list[str], int]:
    rows = read_table(dataset, DATASET).to_pylist()
    for row in rows:
        if row["worked_solution"] is None:
            raise InputError(
                f"{dataset}: prompt {row['prompt_id']} has no worked solution; name its column in "
                "columns.worked_solution, or remove the warm start"
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
