"""A training as a job: from input files to a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object
from astarpo.common.machine import SHARE_ALONE, MachineSettings
from astarpo.common.origins import folder_of_origin, origin_of
from astarpo.common.packages import check_can_import
from astarpo.common.provenance import TrainingProvenance
from astarpo.memory.check import check_fits, shape_of_folder
from astarpo.model.attention import SDPA
from astarpo.model.checkpoints import folder_of_world
from astarpo.model.files import described_folder, trusts_remote_code
from astarpo.model.frozen_base import load_base
from astarpo.model.lengths import Length, check_folder
from astarpo.model.loading import load_policy, load_tokenizer
from astarpo.model.lora import inject, merged
from astarpo.model.policy import ATTENTION_KEY, Policy
from astarpo.model.settings import Lora, packages_of
from astarpo.model.shared_prefix import EXACT
from astarpo.model.world import World, join_world
from astarpo.objectives import uses_v_star
from astarpo.rewards.grading import Grader
from astarpo.sampling import Sampler
from astarpo.sampling.engines import check_engine, make_sampler
from astarpo.sampling.follower import MakeFollower
from astarpo.sampling.second_process import SamplerProcess
from astarpo.training.compilation import check_can_compile, compiles
from astarpo.training.endings import ending
from astarpo.training.engine import TorchEngine
from astarpo.training.export import FinishedRun, Weights
from astarpo.training.finished import restore
from astarpo.training.history import History
from astarpo.training.loop import Trainer
from astarpo.training.memory import PromptLengths, estimate, remedies
from astarpo.training.model_setup import recompute_activations
from astarpo.training.prompts import TrainingPrompt, load_training_prompts
from astarpo.training.settings import TrainSettings
from astarpo.training.trackers import check_installed


def train(
    settings: TrainSettings,
    machine: MachineSettings,
    seed: int,
    inputs: dict[str, str],
    made_from: TrainingProvenance,
    scratch: str,
    outputs: Mapping[str, str],
    traces: Path | None = None,
) -> FinishedRun | None:
    """Train a run, or resume it.

    Args:
        settings, machine, seed: of the run.
        inputs: ``reference`` (manifest) and ``dataset``; ``validation``, ``selection``, ``values`` if used.
        made_from: the provenance, which determines the checkpoint folder, see `origins.Origin`.
        scratch: folder of this run and seed; each origin has its own subfolder.
        outputs: where the results are to be, by name.
        traces: folder for the trace of `machine.profile_steps`; None: with the checkpoints.

    Returns:
        The finished run; None if it had finished before, and its outputs are in place again.

    Raises:
        InputError: missing or mismatched inputs.
        Interrupted: stopped on request, after a checkpoint.
    """
    torch.set_num_threads(settings.torch_threads)
    folder, trusted = _checked_folder(settings, machine, inputs)
    world = join_world(machine.device) if settings.engine == "deepspeed" else World()
    prompts = _load_prompts(load_tokenizer(folder, trusted), settings, inputs)
    _check_memory(folder, settings, machine, world, [*prompts.trained, *prompts.validation])
    of_origin = folder_of_origin(Path(scratch), origin_of(made_from, made_from["seed"]), world.is_first)
    if world.any(world.is_first and restore(of_origin, outputs)):
        return None
    checkpoints = folder_of_world(of_origin, world)  # says first whether it starts over
    grader = Grader(settings.grading, machine.grading_workers)
    grader.prepare(prompt.verifier for prompt in (*prompts.trained, *prompts.validation))  # while models are loaded
    settings = _with_compilation(folder, settings, machine, [*prompts.trained, *prompts.validation])
    engine, sampled = make_engine(folder, settings, machine, world, seed, trusted)
    with _sampler(folder, sampled, settings, machine) as sampler:
        print(f"training on {len(prompts.trained)} prompts; left out: {prompts.left_out}", flush=True)
        shape = shape_of_folder(folder)
        trainer = Trainer(engine, sampler, prompts.trained, prompts.validation, settings, machine, seed, shape, grader)
        history = trainer.run(checkpoints, traces)
    exported_step, weights = trainer.exported()
    facts = _facts(prompts, settings, history, exported_step, trusted)
    exportable = partial(_exportable, engine.policy, folder, settings.lora, trusted)
    kept = trainer.kept.files(checkpoints)
    return FinishedRun(exportable, weights, history, facts, of_origin, kept, world.is_first)


def _checked_folder(settings: TrainSettings, machine: MachineSettings, inputs: Mapping[str, str]) -> tuple[Path, bool]:
    """The reference's folder, and whether its code may run, once all is there that the training needs."""
    if uses_v_star(settings.method, settings.hyperparameters) and "values" not in inputs:
        raise InputError(f"the method {settings.method} needs --values (V* of each prompt)")
    check_installed(machine.trackers)
    if (error := machine.profile_error("the training's steps", settings.steps)) is not None:
        raise InputError(error)
    folder = described_folder(inputs["reference"])
    trusted = trusts_remote_code(inputs["reference"])
    _check_can_start(folder, settings, machine)
    return folder, trusted


def _sampler(
    folder: Path, policy: Policy, settings: TrainSettings, machine: MachineSettings
) -> AbstractContextManager[Sampler]:
    longest = settings.prompting.max_prompt_tokens + settings.sampling.max_new_tokens
    engine, precision = settings.sampling_engine, settings.precision
    if settings.pipeline is None:
        return nullcontext(
            make_sampler(engine, folder, policy, machine, precision=precision, longest=longest, trained=True)
        )
    alone = machine if machine.device == "cpu" else machine.changed(sampler_memory_share=SHARE_ALONE)
    make = MakeFollower(folder, policy.end_token_ids, policy.trust_remote_code, engine, precision, longest, alone)
    return SamplerProcess(make, dict(policy.model.named_parameters()), machine.device)


def _facts(
    prompts: _Prompts, settings: TrainSettings, history: History, exported_step: int, trusted: bool
) -> dict[str, object]:
    """What the manifest says of the training."""
    return {
        "prompts": len(prompts.trained),
        "prompts_left_out": prompts.left_out,
        "trust_remote_code": trusted,
        "compiled": settings.compile_model,  # what ``auto`` became
        "last_step": history.metrics[-1]["step"],
        "exported_step": exported_step,
        "ended_by": ending(history.metrics, settings),
    }


def _exportable(
    policy: Policy, folder: Path, lora: Lora | None, trusted: bool, trained: Weights
) -> tuple[Policy, Weights]:
    """A policy and its whole weights, from trained ones: adapters are merged into the reference's."""
    if lora is None:
        return policy, trained
    whole = merged(folder, lora, trained, trusted)
    return whole, whole.model.state_dict()


class _Prompts(NamedTuple):
    """The prompts to train on, those of the validation, and how many of the former were left out, by reason."""

    trained: list[TrainingPrompt]
    validation: list[TrainingPrompt]
    left_out: dict[str, int]


def _load_prompts(tokenizer: PreTrainedTokenizerBase, settings: TrainSettings, inputs: Mapping[str, str]) -> _Prompts:
    prompts, left_out = load_training_prompts(
        tokenizer, inputs["dataset"], settings.prompting, inputs.get("values"), inputs.get("selection")
    )
    if "validation" not in inputs:
        return _Prompts(prompts, [], left_out)
    validation, _ = load_training_prompts(tokenizer, inputs["validation"], settings.prompting)
    return _Prompts(prompts, validation, left_out)


def _check_can_start(folder: Path, settings: TrainSettings, machine: MachineSettings) -> None:
    """Refuse unsupported lengths, engines, packages and compilers before a model is loaded."""
    longest = settings.prompting.max_prompt_tokens, settings.sampling.max_new_tokens
    check_folder(folder, [Length("the training", *longest)])
    check_engine(settings.sampling_engine, folder)
    check_can_import(_packages(settings))
    if settings.compile_model is True:
        check_can_compile(machine.device)


def _check_memory(
    folder: Path, settings: TrainSettings, machine: MachineSettings, world: World, prompts: Sequence[TrainingPrompt]
) -> None:
    """Refuse a training that does not fit, in every process before the first of them reads weights."""
    shape = shape_of_folder(folder)
    if shape is not None:
        token_ids = [prompt.token_ids for prompt in prompts]
        lengths = PromptLengths.of(token_ids, read_json_object(folder / "config.json"), settings)
        needs = estimate(shape, settings, machine, world.size, lengths)
        others = partial(remedies, shape, settings, machine, world.size, lengths)
        check_fits(str(folder), needs, machine.device, others, min(machine.devices, world.size))
    world.wait()


def _with_compilation(
    folder: Path, settings: TrainSettings, machine: MachineSettings, prompts: Sequence[TrainingPrompt]
) -> TrainSettings:
    """Put what `compiles` decides in place of ``compile_model: auto``, and say it where there was a choice."""
    if settings.compile_model != "auto":
        return settings
    config = read_json_object(folder / "config.json")
    lengths = PromptLengths.of([prompt.token_ids for prompt in prompts], config, settings)
    groups = settings.responses_per_prompt > 1 and config.get("model_type") in EXACT
    compiled, why = compiles(settings, machine, lengths.shared > 0 or groups, str(config.get(ATTENTION_KEY) or SDPA))
    if machine.device != "cpu":
        print(f"compile_model: auto: passes are {'' if compiled else 'not '}compiled: {why}", flush=True)
    return settings.changed(compile_model=compiled)


def _packages(settings: TrainSettings) -> list[str]:
    """Return the optional packages that the run needs."""
    adapters = packages_of(settings.lora)
    return [*adapters, "deepspeed"] if settings.engine == "deepspeed" else adapters


def make_engine(
    folder: Path,
    settings: TrainSettings,
    machine: MachineSettings,
    world: World,
    seed: int,
    trust_remote_code: bool = False,
) -> tuple[TorchEngine, Policy]:
    """Load the models of a training and build its engine.

    Args:
        folder: the reference's model folder.
        settings, machine: of the run.
        world: the processes that train it.
        seed: of the adapters' first matrices.
        trust_remote_code: whether the model's own code may run.

    Returns:
        The engine, and the policy to sample from, which has the newest weights.
    """

    def load(dtype: torch.dtype = torch.float32) -> Policy:
        return load_policy(folder, machine.device, trust_remote_code=trust_remote_code, dtype=dtype)

    if settings.engine == "deepspeed":
        from astarpo.training.deepspeed.loading import load_engine

        return load_engine(load, settings, machine, world, seed)
    if settings.lora is None:
        policy, reference = load(), load()
    else:
        policy = reference = load_base(folder, settings.lora, machine.device, trust_remote_code)
        inject(policy.model, settings.lora, seed)
    if machine.activation_checkpointing:
        recompute_activations(policy.model)
    budget = machine.micro_batch, machine.micro_batch_tokens
    return TorchEngine(policy, reference, settings, *budget, packing=machine.packing), policy
