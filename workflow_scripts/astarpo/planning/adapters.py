"""Whether the layers that LoRA should adapt exist, found in a model without weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from astarpo.common.errors import InputError
from astarpo.config.runs import Config
from astarpo.planning.sizes import model_config, name_of_model

# What peft adapts, by the names of the classes: torch's, and GPT-2's in transformers.
ADAPTED = ("Linear", "Conv1D", "Embedding")
# Families in which these layers are known to be there; to build another model, torch must be imported, which is slow.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
THERE = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def target_problems(config: Config, runs: Iterable[str] | None = None) -> list[str]:
    """Find layers that ``lora.targets`` names and that the model does not have.

    Args:
        config: checked.
        runs: names of those that are to be trained; None: all.

    Returns:
        One line for each run, with the layers that there are; nothing for a model whose config.json is not at hand,
        or which has code of its own.
    """
    found = []
    for name in config.runs if runs is None else sorted(runs):
        run = config.runs[name]
        if run.lora is None or isinstance(run.lora.targets, str):
            continue
        known = model_config(config, run.reference)
        if known is None or (known.get("model_type") in FAMILIES and {*run.lora.targets} <= THERE):
            continue
        layers = _layers_of(known)
        unknown = [one for one in run.lora.targets if layers and one not in layers]
        if unknown:
            model = name_of_model(config.references[run.reference].source)
            found.append(
                f"runs.{name}.lora.targets = {list(run.lora.targets)}: {model} has no layer {', '.join(unknown)}; it "
                f"has {', '.join(layers)}"
            )
    return found


def check_targets(config: Config, runs: Iterable[str]) -> None:
    """Refuse trainings whose LoRA would adapt layers that the model does not have; arguments as `target_problems`.

    Raises:
        InputError: names the layers that there are.
    """
    for problem in target_problems(config, runs):
        raise InputError(problem)


def _layers_of(known: Mapping[str, object]) -> list[str]:
    """Last parts of the names of the layers that can be adapted, of a config.json; none if they are not known."""
    if known.get("auto_map"):
        return []
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    rest = {key: value for key, value in known.items() if key != "model_type"}
    try:
        with torch.device("meta"):
            config = AutoConfig.for_model(str(known.get("model_type")), **rest)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception:  # loading the model says what is wrong with its config.json
        return []
    paths = [path for path, module in model.named_modules() if type(module).__name__ in ADAPTED]
    return list(dict.fromkeys(path.rpartition(".")[2] for path in paths))
