"""The timings of each step: seconds and tokens by phase, shares of the device's peak, idle time, memory.

Nothing here changes a result of a training, so this module and what only it imports are not part of a job's code
(`common.code.MEASURING`): a card that is added to the table makes no training run again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from astarpo.memory.shape import ModelShape
from astarpo.model.log_probs import tokens_read
from astarpo.model.shared_prefix import LEAST_SHARED
from astarpo.model.world import World
from astarpo.training.engine import TorchEngine
from astarpo.training.flops import Lengths, pass_flops
from astarpo.training.metrics import PHASES, peak_memory_bytes
from astarpo.training.microbatches import MicroBatch
from astarpo.training.peak_flops import Peak, peak_of
from astarpo.training.phases import PhaseClock
from astarpo.training.rollouts import Responses
from astarpo.training.settings import TrainSettings


@dataclass(frozen=True)
class Work:
    """What a step has to compute, however it is computed.

    Padding, recomputed activations, what frozen weights do not need, passes for the metrics or for exact norms of
    scores, and optimizer steps are not work. A prompt that several responses share counts for each of them.

    Attributes:
        passes: of `PhaseClock`.
        drawn: all sequences of the rollout.
        trained: those to train on.
    """

    passes: Mapping[str, int]
    drawn: Lengths
    trained: Lengths

    def tokens(self) -> dict[str, int]:
        """Tokens of each phase that computes: of responses where they are drawn, of whole sequences where scored."""
        scored = self.trained.read if self.passes["reference"] or self.passes["critic"] else 0
        return {"generate": self.drawn.drawn, "reference": scored, "update": self.trained.read}

    def flops(self, shape: ModelShape, frozen: bool) -> dict[str, float]:
        """FLOPs of each phase that computes with a model.

        Args:
            shape: of the model.
            frozen: whether only adapters are trained: the others' weights then have no gradients.
        """
        one, of_critic = pass_flops(shape, self.trained), pass_flops(shape, self.trained, head=False)
        return {
            "generate": pass_flops(shape, self.drawn),
            "reference": self.passes["reference"] * one + self.passes["critic"] * of_critic,
            "update": (2 if frozen else 3) * one + (3 * of_critic if self.passes["critic"] else 0.0),
        }


@dataclass(frozen=True)
class Read:
    """What a pass of the policy over a step's rows reads.

    Attributes:
        tokens: with padding, if rows are padded; what the rows of a micro-batch share counts once if it is read once.
        padded: those of padded rows that are read apart.
        shares: whether anything that rows share would be read once.
    """

    tokens: int
    padded: int
    shares: bool

    @classmethod
    def of(cls, engine: TorchEngine, micro_batches: Sequence[MicroBatch]) -> Read:
        """Count, in CPU memory, for the micro-batches of all processes."""
        batches, model = [one.batch for one in micro_batches], engine.called["policy"]
        tokens = sum(tokens_read(model, one, engine.share_prefix) for one in batches)
        shares = engine.share_prefix or engine.lays_out
        return cls(tokens, sum(one.input_ids_BS.numel() for one in batches), shares)

    def __str__(self) -> str:
        if self.tokens < self.padded:
            return (
                f"a pass over the first step's rows reads {self.tokens:,} tokens in place of {self.padded:,}: "
                f"{1 - self.tokens / self.padded:.0%} less, as padding or what rows share"
            )
        why = f"share no beginning and no prompts of {LEAST_SHARED} tokens" if self.shares else "are read apart"
        return f"a pass over the first step's rows reads all {self.padded:,} tokens: they are padded, and {why}"


class Speed:
    """Measures the steps of a training.

    Args:
        shape: of the model; None, or one of an unknown architecture: its work is not known, nor are shares of the peak.
        settings: of the run.
        world: the processes that train together, each with a device of its own.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, shape: ModelShape | None, settings: TrainSettings, world: World, device: str) -> None:
        self.shape = shape if shape is not None and shape.layers else None
        self.settings, self.world, self.device = settings, world, device
        self.peak: Peak | None = None
        self.highest_bytes, self.told = 0, False
        self.ended = time.perf_counter()

    def start(self) -> None:
        """Find the device's peak, and start the clock of the first step."""
        if self.shape is not None:
            self.peak = peak_of(self.device, self.settings.precision)
            print(f"the device's peak: {self.peak.flops / 1e12:.3g} TFLOP/s, {self.peak.source}", flush=True)
        self.ended = time.perf_counter()

    def timings(self, clock: PhaseClock, drawn: Responses, rows: Sequence[int], read: Read) -> dict[str, float | None]:
        """Describe a step at its end; every process must call this.

        Args:
            clock: of the step, with all its phases.
            drawn: the responses of all processes.
            rows: those to train on.
            read: of these rows; said once.

        Returns:
            A row of `metrics.TIMINGS` without ``step``: times of this process, the highest memory and the mean idle
            share of all.
        """
        if not self.told:
            print(read, flush=True)
            self.told = True
        work = Work(clock.passes, _lengths(drawn, range(len(drawn.prompts))), _lengths(drawn, rows))
        seconds = {phase: clock.seconds[phase] for phase in (*PHASES, "validate", "metrics")}
        wall_s = time.perf_counter() - self.ended - seconds["validate"]
        busy_s = sum(seconds.values()) - seconds["validate"] - clock.waited
        allocated, reserved = _device_peaks()
        self.highest_bytes = max(self.highest_bytes, allocated or peak_memory_bytes())
        ranks = self.world.gather((self.highest_bytes, allocated, reserved, 1.0 - busy_s / wall_s))
        self.ended = time.perf_counter()
        highest, *peaks, idle = zip(*ranks, strict=True)
        return {
            **{f"{phase}_seconds": spent for phase, spent in seconds.items()},
            "step_seconds": sum(seconds[phase] for phase in PHASES),
            "wall_seconds": wall_s,
            "idle_share": sum(idle) / len(idle),
            **self._rates(seconds, wall_s, work),
            "read_tokens": read.tokens,
            "padded_tokens": read.padded,
            "peak_memory_bytes": max(highest),
            **{
                name: None if None in peak else max(peak)
                for name, peak in zip(("allocated_bytes", "reserved_bytes"), peaks, strict=True)
            },
        }

    def _rates(self, seconds: Mapping[str, float], wall_s: float, work: Work) -> dict[str, float | None]:
        """Tokens per second and shares of the peak: by phase, then of the whole step."""
        tokens = work.tokens()
        elsewhere = ("generate",) if self.settings.pipeline is not None else ()  # on another device, beside the step
        here = {phase: n for phase, n in tokens.items() if phase not in elsewhere}
        rates = {f"{phase}_tokens_per_second": _quotient(n, seconds[phase]) for phase, n in here.items()}
        rates["tokens_per_second"] = _quotient(tokens["generate"], wall_s)
        if self.shape is None or self.peak is None:
            return rates
        every = work.flops(self.shape, frozen=self.settings.lora is not None)
        flops = {phase: count for phase, count in every.items() if phase not in elsewhere}
        peak = self.peak.flops * self.world.size
        shares = {f"{phase}_mfu": _quotient(count, seconds[phase] * peak) for phase, count in flops.items()}
        return {**rates, **shares, "mfu": _quotient(sum(flops.values()), wall_s * peak), "peak_flops": self.peak.flops}


def _lengths(drawn: Responses, rows: Sequence[int]) -> Lengths:
    prompts = [len(drawn.prompts[row].token_ids) for row in rows]
    return Lengths(prompts, [len(drawn.completions[row].token_ids) for row in rows])


def _quotient(amount: float, over: float) -> float | None:
    return amount / over if amount and over else None


def _device_peaks() -> tuple[int | None, int | None]:
    """The most bytes of the GPU that torch gave out and held since the last call; None without a GPU."""
    if not torch.cuda.is_initialized():
        return None, None
    peaks = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    return peaks
