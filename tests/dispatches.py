"""What a training dispatches to torch: operations, and those of them that only change the type of numbers.

`python tests/dispatches.py` prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import training_case as case

from astarpo.objectives import a_star_po
from astarpo.sampling.settings import SamplingSettings
from astarpo.training.rollouts import requests_for

# They start no kernel on a GPU.
VIEWS = {
    "view",
    "_unsafe_view",
    "t",
    "transpose",
    "slice",
    "select",
    "expand",
    "unsqueeze",
    "squeeze",
    "alias",
    "detach",
}
WAYS = {
    "float32": "float32",
    "autocast": "autocast to bfloat16",
    "bfloat16": "copies in bfloat16",
}
PARTS = {
    "token": "a token of 8 rows",
    "reference": "a pass of the reference",
    "update": "an update of two micro-batches",
    "adamw": "of which: AdamW",
}


class Counted(NamedTuple):
    """What a block dispatched.

    Attributes:
        operations: all but views; one on a list of tensors, such as all weights, counts once.
        casts: of these, those that change floating-point numbers to another such type.
        of_weights: of the casts, those that read a whole weight; a list counts once for each of its weights.
    """

    operations: int
    casts: int
    of_weights: int


class Dispatches(TorchDispatchMode):
    """Counts operations in a block; those of a backward pass on a CPU as well, which runs in the same thread.

    Args:
        weights: whose casts are counted apart.
    """

    def __init__(self, weights: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.weights = {weight.data_ptr() for weight in weights}
        self.operations = self.casts = self.of_weights = 0

    @property
    def counted(self) -> Counted:
        """The counts so far."""
        return Counted(self.operations, self.casts, self.of_weights)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation._schema.name.removeprefix("aten::")
        if name == "to":  # in inference mode, torch does not split it
            result = operation(*args, **(kwargs or {}))
            self.operations += result is not args[0]
            self._cast([args[0]], [result.dtype])
            return result
        self.operations += name not in VIEWS
        if name == "_to_copy":
            self._cast([args[0]], [(kwargs or {}).get("dtype")])
        elif name == "copy_":
            self._cast([args[1]], [args[0].dtype])
        elif name == "_foreach_copy_":
            self._cast(args[1], [one.dtype for one in args[0]])
        return operation(*args, **(kwargs or {}))

    def _cast(self, sources: list[torch.Tensor], wanted: list[torch.dtype | None]) -> None:
        floats = [
            source
            for source, dtype in zip(sources, wanted, strict=True)
            if dtype not in (None, source.dtype) and dtype.is_floating_point and source.is_floating_point()
        ]
        self.casts += bool(floats)
        self.of_weights += sum(one.data_ptr() in self.weights for one in floats)


def costs(folder: Path, way: str) -> dict[str, Counted]:
    """Count what the parts of an A*-PO training dispatch, each after a first time, which may prepare more.

    Args:
        folder: of the tests' tiny model.
        way: one of `WAYS`; in ``autocast``, weights in float32 are rounded where they are used, as before trainings had
            copies in bfloat16.

    Returns:
        The counts of each of `PARTS`.
    """
    precision = "bfloat16" if way == "bfloat16" else "float32"
    made = case.trainer(folder, precision=precision, log_prob_chunk_tokens=None)
    with _in_autocast(made.engine, way == "autocast"):
        return {"token": _of_a_token(made, way), **_of_passes(made.engine)}


def _of_a_token(made: Any, way: str) -> Counted:
    """Count what one more token for eight rows takes: a quarter of the difference between eight and four."""
    made.sampler.end_token_ids = [258]  # never drawn, so no row ends
    found = []
    for tokens in (4, 8):
        requests = requests_for(case.prompts(made.engine.policy)[:8], 1, (0, "train", 1))
        with Dispatches(_weights_of(made.engine)) as dispatches, _autocast(way == "autocast"):
            made.sampler.sample(requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=tokens))
        found.append(dispatches.counted)
    fourths = [divmod(more - fewer, 4) for fewer, more in zip(*found, strict=True)]
    assert not any(rest for _, rest in fourths)
    return Counted(*(count for count, _ in fourths))


def _of_passes(engine: Any) -> dict[str, Counted]:
    """Count a pass of the reference over two responses, and an update with two such micro-batches."""
    prompts, responses = [[4, 5, 6], [7, 8]] * 2, [[9, 10], [11, 12, 13]] * 2
    micro_batches = engine.micro_batches(prompts, responses, range(4))
    assert [len(one.rows) for one in micro_batches] == [2, 2]
    reference_BT = engine.log_probs("reference", micro_batches, 4, 3)
    targets = {"advantage_B": torch.tensor([0.5, -0.5, 1.0, 0.0]), "anchor_log_prob_B": reference_BT.sum(-1)}
    for update in range(2):
        with Dispatches(_weights_of(engine)) as of_reference:
            engine.log_probs("reference", micro_batches[:1], 4, 3)
        with Dispatches(_weights_of(engine)) as of_update:
            engine.update(micro_batches, targets, reference_BT, _loss, update)
    with Dispatches(_weights_of(engine)) as of_adamw:
        engine.optimizer.step()
    return {"reference": of_reference.counted, "update": of_update.counted, "adamw": of_adamw.counted}


def _loss(*args: Any, **more: Any) -> Any:
    return a_star_po.loss(*args, **more, beta2=0.1)


def _weights_of(engine: Any) -> list[torch.Tensor]:
    """The weights that passes read, and the masters of those that are trained."""
    models = [engine.policy.model, engine.reference.model]
    return [*(weight for model in models for weight in model.parameters()), *engine.trained]


def _autocast(enabled: bool) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


@contextmanager
def _in_autocast(engine: Any, enabled: bool) -> Iterator[None]:
    """Compute the forward passes of an engine in autocast."""
    score = engine._score

    def scored(*args: Any) -> Any:
        with _autocast(enabled):
            return score(*args)

    with mock.patch.object(engine, "_score", scored):
        yield


def table(found: dict[str, dict[str, Counted]]) -> list[str]:
    """Write the table of docs/benchmarks.md.

    Args:
        found: what `costs` returned, by way.
    """
    lines = ["| | | operations | casts | weights cast |", "| --- | --- | ---: | ---: | ---: |"]
    for part, title in PARTS.items():
        for way, name in WAYS.items():
            one = found[way][part]
            lines.append(f"| {title} | {name} | {one.operations:,} | {one.casts} | {one.of_weights} |")
    return lines


def main() -> None:
    from astarpo.model.scratch import build_scratch_policy

    sizes = {"layers": 2, "hidden_size": 16, "intermediate_size": 32, "heads": 2, "kv_heads": 1, "max_positions": 64}
    with tempfile.TemporaryDirectory() as scratch:
        build_scratch_policy(seed=0, **sizes, whole_tokens=["\\boxed{"]).save(Path(scratch) / "model")
        print("\n".join(table({way: costs(Path(scratch) / "model", way) for way in WAYS})))


if __name__ == "__main__":
    main()
