"""What torchrun starts for test_vllm_engine.py: in each process a policy and vLLM, which draws this process's prompts.

torchrun --nproc-per-node N vllm_ranks.py FOLDER_OF_THE_MODEL OUT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import torch

from astarpo.model.loading import load_policy
from astarpo.model.world import join_world
from astarpo.sampling import Request
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler

GREEDY = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=12)


def main(folder: str, out: str) -> None:
    world = join_world("cpu")
    torch.set_num_threads(1)
    policy = load_policy(folder)
    machine = VllmMachine("cpu", batch_size=16, memory_share=0.01)
    sampler = VllmSampler(folder, policy.tokenizer, policy.end_token_ids, "float32", 100, machine, policy.model)
    other = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, 8)
    prompts = world.share([[5 + index, 9, 7 + 2 * index] for index in range(6)])
    asked = [Request(f"p{place}", 0, place, prompt) for place, prompt in enumerate(prompts)]

    def tokens(of: VllmSampler | TransformersSampler) -> list[list[int]]:
        return [one.token_ids for one in of.sample(asked, GREEDY)]

    found = {
        "ranks": sampler.engine.collective_rpc(lambda worker: (worker.rank, worker.local_rank)),
        "prompts": prompts,
        "before": [tokens(sampler), tokens(other)],
    }
    generator = torch.Generator().manual_seed(1)  # all processes have the same policy
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    sampler.weights_changed()
    found["after"] = [tokens(sampler), tokens(other)]
    (Path(out) / f"{world.rank}.json").write_text(json.dumps(found), encoding="utf-8")
    world.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
