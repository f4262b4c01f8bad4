"""Whether vLLM can cut a model into equal parts, and who says that it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import warm_snakemake
import yaml
from config_case import changed

from astarpo.config import load_config
from astarpo.memory.known_shapes import known_shape
from astarpo.memory.shape import ModelShape
from astarpo.planning.cards import named_machine
from astarpo.planning.plan import plan
from astarpo.planning.sharing import can_share, check_sharing, sharing_problems

ROOT = Path(__file__).resolve().parent.parent
# Of 4 heads and an MLP 384 wide.
SHARED = {"machine__device": "cuda", "references__tiny__sampling_engine": "vllm"}
SAID = (
    "machine.sampler_tensor_parallel = 3: vLLM cannot cut a model from scratch of references.tiny into 3 equal parts: "
    "it has 4 attention heads, 4 for keys and values, and an MLP 384 wide; possible: 1, 2, 4"
)


@pytest.mark.parametrize(
    ("model", "possible"),
    [
        # 28 heads, 4 for keys and values, 18,944 = 2^9 x 37.
        ("Qwen/Qwen2.5-7B", [1, 2, 4]),
        # 12, 2, 8,960 = 2^8 x 5 x 7: heads are divided by 3 as well, the MLP is not.
        ("Qwen/Qwen2.5-1.5B", [1, 2, 4]),
        # 14, 2, 4,864 = 2^8 x 19.
        ("Qwen/Qwen2.5-0.5B", [1, 2]),
        # 9, 3, 1,536 = 2^9 x 3: by 9 neither of the heads' numbers is the problem.
        ("HuggingFaceTB/SmolLM2-135M", [1, 3]),
        # 40, 8, 27,648 = 2^10 x 27.
        ("Qwen/Qwen2.5-32B", [1, 2, 4, 8]),
    ],
)
def test_by_hand(model: str, possible: list[int]) -> None:
    shape = known_shape(model)
    assert shape is not None
    assert [cards for cards in range(1, 13) if can_share(shape, cards)] == possible


def test_each_head_for_keys_and_values_is_whole_somewhere() -> None:
    """12 heads and the MLP can be divided by 3 and 6; of 4 heads for keys and values, a part would be 4/3 or 4/6."""
    shape = ModelShape(2, 1536, 12_288, 12, 4, 128, 1000, True, 1)
    assert [cards for cards in range(1, 13) if can_share(shape, cards)] == [1, 2, 4, 12]


def test_of_an_unknown_architecture_nothing_is_refused() -> None:
    assert can_share(ModelShape.of_unknown(1000), 7)


def test_who_says_it(tmp_path: Path) -> None:
    raw = changed(**SHARED, machine__sampler_tensor_parallel=3)
    config = load_config(raw)
    assert sharing_problems(config) == [SAID]
    assert SAID in plan(config, named_machine("8xH100")).problems
    check_sharing(config, [])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    script = [sys.executable, ROOT / "workflow_scripts/check_config.py", "mine.yaml"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    line = 1 + (tmp_path / "mine.yaml").read_text().split("\n").index("  sampler_tensor_parallel: 3")
    assert (done.returncode, done.stderr) == (1, f"error: mine.yaml:{line}: {SAID}\n")
    started = warm_snakemake.snakemake(
        tmp_path, "values", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "--configfile", "mine.yaml"
    )
    assert started.returncode == 1 and SAID in started.stdout and "Execute " not in started.stdout


def test_another_engine_shares_nothing() -> None:
    assert not sharing_problems(load_config(changed(machine__device="cuda", machine__sampler_tensor_parallel=3)))
