"""What all tests share: the library on the import path, and the folder of real data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

# A deadline would be a timed assertion: it fails on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Several test processes share the machine; without this each would start a thread for every core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What DeepSpeed compiles is kept in the environment: other checkouts, in a cache that all share, compile it anew.
os.environ.setdefault("TORCH_EXTENSIONS_DIR", f"{sys.prefix}/torch_extensions")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, named by ASTARPO_DATA_DIR; skips where there is none."""
    folder = os.environ.get("ASTARPO_DATA_DIR")
    if not folder:
        pytest.skip("ASTARPO_DATA_DIR is not set: it names the folder with the real data sets")
    if not Path(folder).is_dir():
        pytest.fail(f"ASTARPO_DATA_DIR={folder} is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_policy() -> Any:
    """A random decoder with a byte tokenizer: two layers, width 16."""
    from astarpo.model.scratch import build_scratch_policy

    return build_scratch_policy(
        seed=0,
        layers=2,
        hidden_size=16,
        intermediate_size=32,
        heads=2,
        kv_heads=1,
        max_positions=64,
        whole_tokens=["\\boxed{"],
    )


@pytest.fixture(scope="session")
def tiny_folder(tiny_policy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as an ordinary folder."""
    folder = tmp_path_factory.mktemp("model") / "model"
    tiny_policy.save(folder)
    return folder
