"""Paths that a shell would take apart reach the scripts whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def test_a_data_file_with_a_space_and_a_quote_in_its_name(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        shutil.copytree(ROOT / name, project / name)
    shutil.copy(ROOT / "Snakefile", project)
    data = "my data/sums; it's mine.jsonl"
    (project / "my data").mkdir()
    (project / data).write_text('{"problem": "1+1", "gold": 2}\n')
    own = yaml.safe_load((project / "config/config.yaml").read_text())
    own["datasets"]["mine"] = {"source": {"kind": "local", "path": data}, "verifier": "integer"}
    (project / "mine.yaml").write_text(yaml.safe_dump(own))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["results/datasets/mine.parquet", "--cores", "1", "--configfile", "mine.yaml"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 rows kept" in (project / "results/logs/prepare_dataset/mine.log").read_text()
