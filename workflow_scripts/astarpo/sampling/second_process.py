"""A sampler in a process of its own, so that responses are drawn while this process trains."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Thread
from typing import Self

import torch
from torch import Tensor
from torch.multiprocessing import get_context

from astarpo.common.errors import InputError
from astarpo.sampling import Completion, OnBatch, OnFinished, Request, Sampler
from astarpo.sampling.settings import SamplingSettings

# Makes the sampler in the other process, whose model has the given weights, by name, in memory that both share.
MakeSampler = Callable[[dict[str, Tensor]], Sampler]
READY, WEIGHTS, END = "ready", "weights", "end"


@dataclass(frozen=True)
class _Failed:
    """Why the other process could not go on."""

    reason: str
    is_input_error: bool


class Begun:
    """Responses that the other process has begun to draw.

    Args:
        count: number of responses.
        receive: adds them as they arrive, until all have or an error has; runs in a thread of its own.
        on_finished: called with them, in that thread.
    """

    def __init__(self, count: int, receive: Callable[[Begun], None], on_finished: OnFinished | None) -> None:
        self.count, self.on_finished = count, on_finished
        self.completions: dict[int, Completion] = {}
        self.error: Exception | None = None
        self._thread = Thread(target=receive, args=(self,), name="drawing", daemon=True)
        self._thread.start()

    def add(self, places: Sequence[int], completions: Sequence[Completion]) -> None:
        """Note that some responses are finished."""
        self.completions.update(zip(places, completions, strict=True))
        if self.on_finished is not None:
            self.on_finished(places, completions)

    def wait(self) -> None:
        """Wait until all are drawn, or an error has come."""
        self._thread.join()

    def result(self) -> list[Completion]:
        """Wait for all responses, in the order of the requests.

        Raises:
            InputError, FloatingPointError, RuntimeError: the other process failed.
        """
        self.wait()
        if self.error is not None:
            raise self.error
        return [self.completions[place] for place in range(self.count)]


class SamplerProcess:
    """A `Sampler` whose engine and model are in a second process.

    Args:
        make: makes its sampler there; must be picklable.
        weights: the trained weights by name, which it draws with as they are when a drawing begins.
        device: ``cpu``, or ``cuda``: then it has the second of this job's GPUs.

    Raises:
        InputError: its sampler cannot be made.
    """

    def __init__(self, make: MakeSampler, weights: dict[str, Tensor], device: str) -> None:
        self._trained = weights
        self._shared = {name: torch.empty(weight.shape, dtype=weight.dtype) for name, weight in weights.items()}
        for shared in self._shared.values():
            shared.share_memory_()
        self._copy_weights()
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = theirs, make, self._shared, torch.get_num_threads(), _second_gpu() if device == "cuda" else None
        self._process = context.Process(target=serve, args=arguments, name="sampler", daemon=True)
        self._process.start()
        theirs.close()
        self._last: Begun | None = None
        self._stale = False
        self._expect(READY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(
        self, requests: Sequence[Request], settings: SamplingSettings, on_finished: OnFinished | None = None
    ) -> Begun:
        """Begin to draw one response for each request, and return at once.

        What was begun before is finished first; only then does the other process get new weights.
        """
        if self._last is not None:
            self._last.wait()
        if self._stale:
            self._copy_weights()
            self._send(WEIGHTS)
            self._expect(READY)
            self._stale = False
        self._send((list(requests), settings))
        self._last = Begun(len(requests), self._receive, on_finished)
        return self._last

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        on_batch: OnBatch | None = None,
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Draw one response for each request, in the order of the requests; all of them are one batch."""
        drawn = self.begin(requests, settings, on_finished).result()
        if on_batch is not None:
            on_batch(range(len(requests)), drawn)
        return drawn

    def weights_changed(self) -> None:
        """Note that the trained weights were updated: what is begun from now on is drawn with the new ones."""
        self._stale = True

    def rest(self) -> None:
        """Nothing to do: it has memory of its own."""

    def close(self) -> None:
        """End the other process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _copy_weights(self) -> None:
        with torch.no_grad():
            for name, shared in self._shared.items():
                shared.copy_(self._trained[name])

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:  # it has ended; what it said last is still to be read
            self._expect(READY)

    def _expect(self, answer: str) -> None:
        try:
            said = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(said, _Failed):
            raise _error(said)
        assert said == answer, said

    def _receive(self, begun: Begun) -> None:
        """Read the responses of what was begun, until its end."""
        try:
            while (said := self._connection.recv()) != END:
                if isinstance(said, _Failed):
                    raise _error(said)
                begun.add(*said)
        except (EOFError, OSError):
            begun.error = self._ended()
        except Exception as error:
            begun.error = error

    def _ended(self) -> RuntimeError:
        self._process.join(10)
        return RuntimeError(
            f"the process that draws responses has ended with exit status {self._process.exitcode}; what it said is "
            "above, and the training goes on from its last checkpoint if it is started again"
        )


def _error(failed: _Failed) -> Exception:
    return InputError(failed.reason) if failed.is_input_error else FloatingPointError(failed.reason)


def _second_gpu() -> str:
    """The second of the GPUs that this process sees, as a value of CUDA_VISIBLE_DEVICES."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(number) for number in range(torch.cuda.device_count())] if seen is None else seen.split(",")
    if len(gpus) < 2:
        raise InputError(
            f"pipeline.lag = 1 needs two GPUs, one to train and one to draw, and this job sees {len(gpus)}: set "
            "pipeline: null"
        )
    return gpus[1]


def serve(connection: Connection, make: MakeSampler, weights: dict[str, Tensor], threads: int, gpu: str | None) -> None:
    """Draw what the other process asks for, until it ends.

    Args:
        connection: to the process that trains.
        make: makes the sampler.
        weights: by name, in memory that both processes share.
        threads: for torch.
        gpu: the only one that this process shall see; None: those of its parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains, which finishes its step
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so is SLURM's signal
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA starts
    torch.set_num_threads(threads)
    try:
        sampler = make(weights)
        connection.send(READY)
        while True:
            asked = connection.recv()
            if asked == WEIGHTS:
                sampler.weights_changed()
                connection.send(READY)
                continue
            requests, settings = asked
            sampler.sample(
                requests, settings, on_finished=lambda *finished: connection.send(tuple(map(list, finished)))
            )
            connection.send(END)
    except (EOFError, OSError, KeyboardInterrupt):
        return  # the other process has ended
    except (InputError, FloatingPointError) as error:
        connection.send(_Failed(str(error), isinstance(error, InputError)))
