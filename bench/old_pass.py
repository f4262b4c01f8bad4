"""Time a training step after sampling with and without the pass of the old policy, which an only update does not need.

Both ways run in turn, in one process, on a random model of the embedded default's shape, with 128 responses of about 20
tokens; prints the shortest times and their ratio. GRPO draws groups of eight, REBEL pairs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import gpu

SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 384,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="measurements of each way (default: %(default)s)")
    repeats = parser.parse_args().repeats
    from astarpo.training import rollout_scoring
    from astarpo.training.phases import PhaseClock

    gpu.SHAPES["default"] = SHAPE
    for name in ("grpo-8", "rebel"):
        method, hyperparameters, responses, chunk = gpu.CASES[name]
        sizes = argparse.Namespace(
            device="cpu",
            shape="default",
            precision="float32",
            prompts=128 // responses,
            prompt_tokens=12,
            response_tokens=28,
            micro_batch_tokens=2048,
        )
        engine, settings = gpu.make_engine(sizes, method, hyperparameters, responses, chunk)
        engine.policy.model.gradient_checkpointing_disable()
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(repeats):
            for skip, found in seconds.items():
                clock = PhaseClock()
                with mock.patch.object(rollout_scoring, "takes_old_from_update", return_value=skip):
                    gpu.step(engine, settings, sizes, clock)
                found.append(clock.seconds["passes"] + clock.seconds["update"])
        with_pass, without = (min(seconds[skip]) for skip in (False, True))
        print(
            f"{name}: {with_pass:.3f} s with the pass, {without:.3f} s without: {with_pass / without:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
