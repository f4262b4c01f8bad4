"""A policy: a language model with its tokenizer and what ends its responses; how it is saved."""

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
    """A model, its tokenizer, and what ends its responses.

    Attributes:
        model: a causal language model (transformers).
        tokenizer: its tokenizer.
        end_token_ids: each id that ends a response; the first is the one that a warm start teaches.
        attention: which of transformers' implementations computes attention.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_token_ids: list[int]
    attention: str = SDPA

    def save(self, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an ordinary model folder: weights, config, generation config, tokenizer.

        What ends a response goes into generation_config.json, and attention other than ``sdpa`` into config.json, where
        `load_policy` and transformers find them.

        Args:
            folder: to make.
            weights: by name, if not those that the model has now; tied ones may stand there once.

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
        if self.attention != SDPA:
            path = Path(folder) / "config.json"
            write_json(path, {**read_json(path), ATTENTION_KEY: self.attention})


def hide_progress_bars() -> None:
    """Switch off transformers' own progress bars, which would fill the logs with carriage returns."""
    logging.disable_progress_bar()
