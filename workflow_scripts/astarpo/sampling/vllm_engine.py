"""Sampling with vLLM in this process: token ids in and out, one seed per response, weights updated on request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.memory.check import shape_of_folder
from astarpo.memory.vllm_places import vllm_places
from astarpo.model.memory import total_bytes
from astarpo.sampling import Completion, OnBatch, OnFinished, Request
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.vllm_parameters import parameters
from astarpo.sampling.vllm_process import check_can_load, preserved_process_state
from astarpo.sampling.vllm_weights import WeightLink

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.outputs import CompletionOutput

# Batches in one call: vLLM fills each slot that becomes free with the next request, so slots are empty only at the
# end of a call. With more batches the progress bar would stand still for too long.
BATCHES_PER_CALL = 16


@dataclass(frozen=True)
class VllmMachine:
    """Settings that change only the speed and memory of vLLM.

    Attributes:
        device: ``cpu`` or ``cuda``.
        batch_size: responses of a batch; on a CPU, and of a model of unknown shape, drawn at a time.
        tensor_parallel: GPUs that share the model.
        memory_share: share of the GPU's memory, model included; on a CPU, share of the RAM for its cache alone.
        sleep_level: what it frees while the policy is trained: 0 nothing, 1 its cache, the weights going
            to the host, 2 both.
        trust_remote_code: whether the model's own code may run.
    """

    device: str
    batch_size: int
    tensor_parallel: int = 1
    memory_share: float = 0.5
    sleep_level: int = 0
    trust_remote_code: bool = False

    @classmethod
    def of(cls, machine: MachineSettings, trained: bool, trust_remote_code: bool = False) -> Self:
        """Take from a job's machine settings what concerns vLLM.

        Args:
            machine: of the job.
            trained: whether the policy is trained in this process, so that vLLM shares the device with it.
            trust_remote_code: whether the model's own code may run.
        """
        return cls(
            device=machine.device,
            batch_size=machine.sampling_batch,
            tensor_parallel=machine.sampler_tensor_parallel,
            memory_share=machine.vllm_share(trained),
            sleep_level=machine.sampler_sleep_level,
            trust_remote_code=trust_remote_code,
        )

    @property
    def can_sleep(self) -> bool:
        """vLLM frees memory on GPUs only."""
        return self.sleep_level > 0 and self.device != "cpu"


class VllmSampler:
    """Draws responses with vLLM; a response depends on its request alone, up to rounding that varies with the batch.

    Args:
        folder: the model folder to load.
        tokenizer: its tokenizer, for the text of a response.
        end_token_ids: ids that end a response; the folder's generation config is ignored.
        precision: ``float32`` or ``bfloat16``, for weights and computation.
        longest: length of the longest prompt plus response, in tokens.
        machine: speed and memory.
        trained: the model that is being trained from this folder's weights, which the engine follows; None without one.

    Raises:
        InputError: vLLM is missing, does not know the model, or lacks memory.
    """

    def __init__(
        self,
        folder: str | Path,
        tokenizer: PreTrainedTokenizerBase,
        end_token_ids: Sequence[int],
        precision: str,
        longest: int,
        machine: VllmMachine,
        trained: PreTrainedModel | None = None,
    ) -> None:
        check_can_load(folder)
        if trained is not None and machine.tensor_parallel > 1:
            raise InputError(
                f"machine.sampler_tensor_parallel = {machine.tensor_parallel}: trainings need 1, as each of their "
                "devices has a vLLM of its own; no result depends on it"
            )
        self.tokenizer, self.end_token_ids = tokenizer, list(end_token_ids)
        self.machine, self.longest = machine, longest
        with preserved_process_state():
            self.engine = _start(folder, precision, longest, machine, trained is not None)
        self._weights = None if trained is None else WeightLink(self.engine, trained)
        self._stale, self._asleep = False, False

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        on_batch: OnBatch | None = None,
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Draw one response for each request, in the order of the requests.

        Args:
            requests: what to draw.
            settings: temperature, nucleus and the longest response.
            on_batch: called after each call of vLLM, which draws several batches: they are mixed, and not exact alone.
            on_finished: called as responses finish.

        Raises:
            InputError: a prompt leaves no room for a response.
        """
        self._be_ready()
        completions: dict[int, Completion] = {}
        size = BATCHES_PER_CALL * self.machine.batch_size
        for start in range(0, len(requests), size):
            chosen = requests[start : start + size]
            self._check_lengths(chosen, settings)
            # A prompt that is read from the cache may be rounded in another way than one that is computed, so without
            # this a call would depend on the calls before it, and a job that resumes might draw other responses.
            self.engine.reset_prefix_cache()
            for place, output in self._run(chosen, settings):
                completions[start + place] = self._completion(output)
                if on_finished is not None:
                    on_finished([start + place], [completions[start + place]])
            if on_batch is not None:
                places = range(start, start + len(chosen))
                on_batch(places, [completions[place] for place in places])
        return [completions[place] for place in range(len(requests))]

    def _run(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[tuple[int, CompletionOutput]]:
        """Draw as `LLM.generate` does, which would keep all responses until the last one is finished."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        engine = self.engine.llm_engine
        for place, request in enumerate(requests):
            told = parameters(request.seed, settings, self.end_token_ids)
            params = SamplingParams(**told, output_kind=RequestOutputKind.FINAL_ONLY)
            engine.add_request(str(place), {"prompt_token_ids": list(request.prompt_token_ids)}, params)
        while engine.has_unfinished_requests():
            for output in engine.step():
                yield int(output.request_id), output.outputs[0]

    def weights_changed(self) -> None:
        """Load the trained model's weights before the next response is drawn."""
        self._stale = self._weights is not None

    def rest(self) -> None:
        """Free memory until the next response is drawn, as ``sleep_level`` says."""
        if self._weights is not None and self.machine.can_sleep and not self._asleep:
            self.engine.sleep(level=self.machine.sleep_level)
            self._asleep = True

    def _be_ready(self) -> None:
        """Wake up in two steps, so that the old cache and the new weights are not in memory together."""
        if self._asleep:
            self.engine.wake_up(tags=["weights"])
        if self._weights is not None and (self._stale or (self._asleep and self.machine.sleep_level == 2)):
            self._weights.push()
        if self._asleep:
            self.engine.wake_up(tags=["kv_cache"])
        self._stale = self._asleep = False

    def _check_lengths(self, requests: Sequence[Request], settings: SamplingSettings) -> None:
        longest = max(len(request.prompt_token_ids) for request in requests)
        if longest + settings.max_new_tokens > self.longest:
            raise InputError(
                f"a prompt of {longest} tokens and a response of {settings.max_new_tokens} exceed the length vLLM was "
                f"started with ({self.longest}): lower max_prompt_tokens or max_new_tokens, or use a model with "
                "more positions"
            )

    def _completion(self, output: CompletionOutput) -> Completion:
        token_ids = [int(token) for token in output.token_ids]
        # With `logprobs: 0`, those of the drawn tokens alone.
        log_probs = [float(value) for _, value in zip(token_ids, output.logprobs.logprobs, strict=True)]
        ended = token_ids[-1] in self.end_token_ids
        text = str(self.tokenizer.decode(token_ids, skip_special_tokens=True))
        return Completion(token_ids, text, "stop" if ended else "length", sum(log_probs), log_probs)


def _start(folder: str | Path, precision: str, longest: int, machine: VllmMachine, is_followed: bool) -> LLM:
    """Start the engine; like the trainer's, its log-probabilities include the temperature."""
    from vllm import LLM, SamplingParams

    try:
        engine = LLM(
            str(folder),
            trust_remote_code=machine.trust_remote_code,
            load_format="safetensors",
            dtype=precision,
            max_model_len=longest,
            seed=0,
            skip_tokenizer_init=True,
            max_num_seqs=_at_a_time(folder, precision, longest, machine),
            enforce_eager=machine.device == "cpu",
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            distributed_executor_backend=_executor(machine.tensor_parallel),
            tensor_parallel_size=machine.tensor_parallel,
            enable_sleep_mode=is_followed and machine.can_sleep,
            **_memory(machine),
        )
        # Limits of a kernel, such as unsupported head sizes on a CPU, show only with the first token.
        trial = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
        engine.generate([{"prompt_token_ids": [0]}], trial, use_tqdm=False)
    except Exception as error:
        # A plain Exception says that a worker process failed, whose own error is in the log; other kinds are bugs.
        if type(error) is not Exception and not isinstance(error, ValueError | RuntimeError):
            raise
        said = " ".join((str(error).strip() or type(error).__name__).split())
        raise InputError(
            f"{folder}: vLLM does not start: {said} ({_its_words(machine, longest, is_followed)}; or set "
            "sampling_engine: transformers)"
        ) from error
    return engine


def _at_a_time(folder: str | Path, precision: str, longest: int, machine: VllmMachine) -> int:
    """Responses that vLLM draws together: on a GPU as many as its cache holds, see `memory.vllm_places`."""
    shape = shape_of_folder(folder) if machine.device != "cpu" else None
    if shape is None or not shape.layers:
        return machine.batch_size
    share = machine.memory_share * total_bytes(machine.device) * machine.tensor_parallel
    return vllm_places(shape, precision, longest, share)


def _executor(tensor_parallel: int) -> str:
    """Where vLLM runs the model: in this process, unless several GPUs share it.

    Among the processes of a training it must join their group and take the GPU of its local rank: as `uni` it would
    have rank 0 in each of them, and all engines would take the first GPU.
    """
    if tensor_parallel > 1:
        return "mp"
    joined = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    return "external_launcher" if joined else "uni"


def _its_words(machine: VllmMachine, longest: int, is_followed: bool) -> str:
    """Translate the names that vLLM's messages have for settings, with their values."""
    places = "what its cache holds"
    if machine.device == "cpu":
        places = f"machine.sampling_batch = {machine.batch_size}"
        share = f"kv_cache_memory_bytes is machine.sampler_memory_share = {machine.memory_share:g} of the RAM"
    elif is_followed:
        share = f"gpu_memory_utilization is machine.sampler_memory_share = {machine.memory_share:g}"
    else:
        share = f"gpu_memory_utilization is {machine.memory_share:g}, as no other program should be on the GPU"
    return (
        f"in vLLM's words {share}, tensor_parallel_size is machine.sampler_tensor_parallel = "
        f"{machine.tensor_parallel}, max_num_seqs is {places}, and max_model_len "
        f"is max_prompt_tokens + max_new_tokens = {longest}"
    )


def _memory(machine: VllmMachine) -> dict[str, float]:
    """A share of the GPU's memory; on a CPU, bytes for the cache, as other programs need RAM too."""
    if machine.device != "cpu":
        return {"gpu_memory_utilization": machine.memory_share}
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"kv_cache_memory_bytes": int(machine.memory_share * total)}
