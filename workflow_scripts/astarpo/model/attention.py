"""Attention implementations, and whether a model supports one."""

from __future__ import annotations

import copy

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from astarpo.common.errors import InputError

SDPA, FLASH = "sdpa", "flash_attention_2"


def check_attention(model: str, config: PreTrainedConfig, attention: str, trust_remote_code: bool = False) -> None:
    """Refuse an attention implementation that a model does not support, or that would ignore its score cap.

    Args:
        model: its name, for the message.
        config: the model's configuration (transformers).
        attention: ``sdpa``, ``eager``, ``flash_attention_2``, ...
        trust_remote_code: whether the model's own code may run.

    Raises:
        InputError: the implementation is not installed, does not support the architecture, or ignores the score cap.
    """
    cap = getattr(config.get_text_config(decoder=True), "attn_logit_softcapping", None)
    if cap is not None and attention == SDPA:
        # transformers passes the cap to sdpa, which silently ignores it.
        raise InputError(
            f"attention = 'sdpa': {model} caps its attention scores (attn_logit_softcapping = {cap:g}), which sdpa "
            "ignores; set attention: eager in the reference's entry"
        )
    problem = _cannot_be_built(config, attention, trust_remote_code)
    # A model that cannot be built even with eager attention has another problem, which loading reports.
    if problem is not None and _cannot_be_built(config, "eager", trust_remote_code) is None:
        raise InputError(
            f"attention = {attention!r}: {model} cannot be computed with it ({problem}); choose another in the "
            "reference's entry: every model has eager"
        )


def _cannot_be_built(config: PreTrainedConfig, attention: str, trust_remote_code: bool) -> str | None:
    """Build the model without weights; return why that fails, or None."""
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(
                copy.deepcopy(config), attn_implementation=attention, trust_remote_code=trust_remote_code
            )
    except Exception as error:  # ImportError where a package is missing, ValueError, and others
        message = str(error).strip() or type(error).__name__
        return message.splitlines()[0].split(". ")[0].rstrip(".")
    return None
