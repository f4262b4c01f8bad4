"""How large a configuration's models and data are, as far as that is known before anything is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object
from astarpo.config.paths import model_path
from astarpo.config.runs import Config
from astarpo.config.schema import ReferenceEntry, TaskEntry
from astarpo.data.settings import HubData, LocalFile
from astarpo.memory.check import shape_of_folder
from astarpo.memory.known_shapes import CONFIGS, known_shape
from astarpo.memory.shape import ModelShape
from astarpo.stage_one.settings import HubModel, LocalModel, ModelSource, Scratch

SUPPOSED_ROWS = 10_000  # of data whose size is not known
BYTE_TOKENS = 258  # of the tokenizer of a model from scratch: a token for each byte, end and padding
HUB_ROWS = {  # (id, split) -> problems
    ("openai/gsm8k", "train"): 7473,
    ("openai/gsm8k", "test"): 1319,
    ("xDAN2099/lighteval-MATH", "train"): 7500,
    ("xDAN2099/lighteval-MATH", "test"): 5000,
    ("HuggingFaceH4/MATH-500", "test"): 500,
    ("math-ai/minervamath", "test"): 272,
    ("math-ai/olympiadbench", "test"): 674,
    ("math-ai/amc23", "test"): 40,
    ("HuggingFaceH4/aime_2024", "train"): 30,
    ("MathArena/aime_2025", "train"): 30,
    ("MathArena/hmmt_feb_2024", "train"): 30,
    ("MathArena/hmmt_feb_2025", "train"): 30,
}


def rows_of(entry: TaskEntry) -> tuple[float, bool]:
    """Count the problems of a data set or benchmark.

    Returns:
        The count before duplicates are dropped, and whether it is known rather than supposed.
    """
    source = entry.source
    if isinstance(source, HubData):
        splits = [HUB_ROWS.get((source.id, split)) for split in source.split.split("+")]
        known = None if None in splits else sum(split or 0 for split in splits)
    elif isinstance(source, LocalFile):
        known = _rows_of_files([source.path] if isinstance(source.path, str) else list(source.path))
    else:
        known = source.count
    low, high = entry.hash_range
    rows = (SUPPOSED_ROWS if known is None else known) * (high - low)
    return min(rows, entry.max_prompts or rows), known is not None or entry.max_prompts is not None


def _rows_of_files(paths: list[str]) -> int | None:
    """Lines of JSON Lines files; None if one is missing or of another kind."""
    if not all(path.endswith(".jsonl") and Path(path).is_file() for path in paths):
        return None
    return sum(sum(1 for line in Path(path).open("rb") if line.strip()) for path in paths)


def shape_of_reference(entry: ReferenceEntry) -> ModelShape | None:
    """Find the shape of a reference's model without a network.

    Returns:
        From the folder of a local model, the hub's cache, the settings of a model from scratch, or the table of known
        models; None if none has it.
    """
    shape = _shape_of_source(entry.source)
    if shape is None:
        return None
    attention = entry.attention if entry.attention == "eager" else shape.attention
    return ModelShape(**{**vars(shape), "attention": attention})


def _shape_of_source(source: ModelSource) -> ModelShape | None:
    if isinstance(source, HubModel):
        return known_shape(source.id) or _shape_in_cache(source)
    if isinstance(source, LocalModel):
        has_config = (Path(source.path) / "config.json").is_file()
        return shape_of_folder(source.path) if has_config else known_shape(source.path)
    if isinstance(source, Scratch):
        return ModelShape.of(config_of_scratch(source))
    return known_shape(source.name.partition("==")[0])


def config_of_scratch(source: Scratch) -> Mapping[str, object]:
    """What config.json will say of a model from scratch."""
    return {
        "model_type": "qwen2",
        "num_hidden_layers": source.layers,
        "hidden_size": source.hidden_size,
        "intermediate_size": source.intermediate_size,
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.kv_heads,
        "vocab_size": BYTE_TOKENS + len(source.whole_tokens),
        "tie_word_embeddings": True,
    }


def cached_config(source: HubModel) -> Mapping[str, object] | None:
    """Contents of config.json in the hub's cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(source.id, "config.json", revision=source.revision)
    return read_json_object(path) if isinstance(path, str) else None


def model_config(config: Config, reference: str) -> Mapping[str, object] | None:
    """Find the contents of the config.json of a reference's model without a network.

    Args:
        config: checked.
        reference: its name.

    Returns:
        In a local folder, of a model from scratch, in the hub's cache, as prepared, or of a known model, of which only
        the shape is known; None if none of them has it, or if it cannot be read.
    """
    source = config.references[reference].source
    if isinstance(source, Scratch):
        return config_of_scratch(source)
    if isinstance(source, HubModel) and (cached := cached_config(source)) is not None:
        return cached
    folders = [source.path] if isinstance(source, LocalModel) else []
    for folder in (*folders, model_path(reference)):
        if (Path(folder) / "config.json").is_file():
            try:
                return read_json_object(Path(folder) / "config.json")
            except InputError:  # what is wrong with it is for its own job to say
                return None
    return CONFIGS.get(source.id.removesuffix("-Instruct")) if isinstance(source, HubModel) else None


def _shape_in_cache(source: HubModel) -> ModelShape | None:
    config = cached_config(source)
    return None if config is None else ModelShape.of(config)


def name_of_model(source: ModelSource) -> str:
    """What a person calls a reference's model."""
    if isinstance(source, HubModel):
        return source.id
    if isinstance(source, LocalModel):
        return source.path
    return "a model from scratch" if isinstance(source, Scratch) else source.name
