"""Into how many GPUs vLLM can cut a model: each must get the same number of heads, or copies of them."""

from __future__ import annotations

from collections.abc import Iterable

from astarpo.common.errors import InputError
from astarpo.config.runs import Config
from astarpo.memory.shape import ModelShape
from astarpo.planning.sizes import name_of_model, shape_of_reference

MOST_CARDS = 16  # of which a message tells whether they can share a model


def can_share(shape: ModelShape, cards: int) -> bool:
    """Whether vLLM can cut a model into equal parts, as its layers for Llama and Qwen2 require it.

    Args:
        shape: of the model; of an unknown one, nothing is refused.
        cards: GPUs that share it. With fewer key/value heads than that, each head is copied to as many of them.
    """
    if not shape.heads:
        return True
    fewer, more = sorted((shape.kv_heads, cards))
    return shape.heads % cards == shape.intermediate % cards == more % fewer == 0


def sharing_problems(config: Config, references: Iterable[str] | None = None) -> list[str]:
    """Find models that vLLM cannot cut into ``machine.sampler_tensor_parallel`` parts.

    Args:
        config: checked.
        references: names of those that are sampled from; None: all.

    Returns:
        One line for each, with the numbers that are possible; nothing for models whose config.json is not at hand.
    """
    cards, found = config.machine.sampler_tensor_parallel, []
    for name in config.references if references is None else references:
        entry = config.references[name]
        try:
            shape = shape_of_reference(entry)
        except InputError:  # what is wrong with its folder is for its own job to say
            continue
        if entry.sampling_engine != "vllm" or shape is None or can_share(shape, cards):
            continue
        possible = [str(number) for number in range(1, MOST_CARDS + 1) if can_share(shape, number)]
        found.append(
            f"machine.sampler_tensor_parallel = {cards}: vLLM cannot cut {name_of_model(entry.source)} of "
            f"references.{name} into {cards} equal parts: it has {shape.heads} attention heads, {shape.kv_heads} for "
            f"keys and values, and an MLP {shape.intermediate:,} wide; possible: {', '.join(possible)}"
        )
    return found


def check_sharing(config: Config, references: Iterable[str]) -> None:
    """Refuse a model that vLLM cannot cut into ``machine.sampler_tensor_parallel`` parts.

    Args:
        config: checked.
        references: names of those that are to be sampled from.

    Raises:
        InputError: vLLM would not start.
    """
    for problem in sharing_problems(config, sorted(references)):
        raise InputError(problem)
