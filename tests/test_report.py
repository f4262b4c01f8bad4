"""Snakemake's report, for a configuration other than the default."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import test_reruns
import yaml


def test_the_report_is_of_the_configuration_that_was_given(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        shutil.copytree(test_reruns.ROOT / name, project / name)
    shutil.copy(test_reruns.ROOT / "Snakefile", project)
    (project / "workflow_scripts/launch.py").write_text(test_reruns.STUB)
    own = yaml.safe_load((project / "config/config.yaml").read_text())
    own["runs"] = {"mine": {**own["runs"]["a-star-po"], "seeds": [5]}}
    own["figures"] = {
        "my-accuracy": {"kind": "accuracy"},
        "my-values": {"kind": "values", "value": "v-star"},
    }
    (project / "mine.yaml").write_text(yaml.safe_dump(own))
    # Were the default read instead, it would fail.
    (project / "config/config.yaml").write_text("{}\n")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "mine.yaml"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(project / "results/report.zip") as archive:
        names = archive.namelist()
        page = archive.read("report/report.html").decode()
    # One job below 0 s would empty the statistics' logarithmic axis.
    runtimes = [float(seconds) for seconds in re.findall(r'"runtime": ([-0-9.e]+)', page)]
    assert len(runtimes) > 10 and min(runtimes) > 0
    embedded = {Path(name).name for name in names if "/data/" in name}
    assert {"my-accuracy.png", "my-values.png", "summary.csv", "cost.csv", "main.html"} <= embedded
    for text in ("regresses", "only become more certain", "my-accuracy", "Tables", "mine"):
        assert text in page, text
    # A copy of the project, elsewhere, has nothing to do: no path of this machine counts.
    moved = Path(shutil.copytree(project, tmp_path / "elsewhere/copy"))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "mine.yaml", "-n"]
    done = subprocess.run(command, cwd=moved, env=environment, capture_output=True, text=True)
    assert "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr
