"""A policy: a language model with its tokenizer and end tokens, and how to save it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, write_json
from astarpo.model.attention import SDPA
from astarpo.model.finite import check_weights

ATTENTION_KEY = "attn_implementation"  # of config.json, as transformers reads it


@dataclass(frozen=True)
class Policy:
    """A model, its tokenizer and its end tokens.

    Attributes:
        model: a causal language model (transformers).
        tokenizer: its tokenizer.
        end_token_ids: ids that end a response; a warm start teaches the first.
        attention: transformers' attention implementation.
        trust_remote_code: whether code of the model's own was allowed to run when it was loaded.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_token_ids: list[int]
    attention: str = SDPA
    trust_remote_code: bool = False

    def save(self, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an ordinary model folder: weights, config, generation config, tokenizer.

        The end tokens go into generation_config.json, and attention other than ``sdpa`` into config.json, where
        `load_policy` and transformers find them.

        Args:
            folder: to write.
            weights: by name, if not the model's current ones; tied weights may occur once.

        Raises:
            InputError: weights are not finite; nothing is written.
        """
        try:
            check_weights(self.model.state_dict() if weights is None else weights)
        except FloatingPointError as error:
            raise InputError(f"the model is not saved to {folder}: {error}") from error
        hide_progress_bars()
        ends = self.end_token_ids
        self.model.generation_config.eos_token_id = ends[0] if len(ends) == 1 else ends
        self.model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
        self.tokenizer.save_pretrained(folder)
        self._complete_config(Path(folder) / "config.json", weights)

    def _complete_config(self, path: Path, weights: Mapping[str, Tensor] | None) -> None:
        """Write into config.json what transformers leaves out: other attention, and the type of given weights."""
        changed = {ATTENTION_KEY: self.attention} if self.attention != SDPA else {}
        types = {weight.dtype for weight in (weights or {}).values() if weight.is_floating_point()}
        if len(types) == 1 and self.model.dtype not in types:
            changed["dtype"] = str(types.pop()).removeprefix("torch.")
        if changed:
            write_json(path, {**read_json(path), **changed})


def hide_progress_bars() -> None:
    """Disable transformers' progress bars, which would fill the logs with carriage returns."""
    logging.disable_progress_bar()
