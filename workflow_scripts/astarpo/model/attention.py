"""Which implementation of attention a model is computed with, and whether it can be."""

from __future__ import annotations

import copy

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from astarpo.common.errors import InputError

SDPA = "sdpa"


def check_attention(model: str, config: PreTrainedConfig, attention: str) -> None:
    """Refuse an implementation that a model does not have, or that would leave out part of its arithmetic.

    Args:
        model: its name, for the message.
        config: the model's configuration (transformers).
        attention: ``sdpa``, ``eager``, ``flash_attention_2``, ...

    Raises:
        InputError: the implementation is not installed, does not go with the architecture, or caps no scores.
    """
    cap = getattr(config.get_text_config(decoder=True), "attn_logit_softcapping", None)
    if cap is not None and attention == SDPA:
        # transformers gives the cap to the function, which silently ignores it.
        raise InputError(
            f"attention = 'sdpa': {model} caps its attention scores (attn_logit_softcapping = {cap:g}), which sdpa "
            "leaves out; set attention: eager in the reference's entry"
        )
    problem = _cannot_be_built(config, attention)
    # A model that cannot be built in any way has another problem, of which loading tells.
    if problem is not None and _cannot_be_built(config, "eager") is None:
        raise InputError(
            f"attention = {attention!r}: {model} cannot be computed with it ({problem}); choose another in the "
            "reference's entry: every model has eager"
        )


def _cannot_be_built(config: PreTrainedConfig, attention: str) -> str | None:
    """Build the model without weights; say why that fails."""
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=attention)
    except Exception as error:  # ImportError where a package is missing, ValueError, and others
        said = str(error).strip() or type(error).__name__
        return said.splitlines()[0].split(". ")[0].rstrip(".")
    return None
