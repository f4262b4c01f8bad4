"""Paths that a shell or Snakemake would take apart reach the scripts whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import warm_snakemake
import yaml

from astarpo.common.code import Code, check_planned, read_code

ROOT = Path(__file__).resolve().parent.parent
VERIFIER = """
from astarpo.rewards.verdicts import Verdict

def right(gold, response):
    return Verdict("correct", gold)
"""


def snakemake(folder: Path, *options: str, snakefile: Path = ROOT / "Snakefile") -> subprocess.CompletedProcess[str]:
    return warm_snakemake.snakemake(folder, "--cores", "1", "-s", str(snakefile), *options)


def test_a_space_a_quote_and_braces_in_names(tmp_path: Path) -> None:
    """Those of the working directory may have braces as well; a data file may not, see test_names.py."""
    folder = tmp_path / "it's {dataset} {{x}}"
    (folder / "my data").mkdir(parents=True)
    data, verifier = "my data/sums; it's mine.jsonl", "my data/the % verifier.py"
    (folder / data).write_text('{"problem": "1+1", "gold": 2}\n')
    (folder / verifier).write_text(VERIFIER)
    source = {"kind": "local", "path": data}
    own = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    own["datasets"]["mine"] = {"source": source, "verifier": f"{verifier}:right"}
    (folder / "mine.yaml").write_text(yaml.safe_dump(own))
    done = snakemake(folder, "results/datasets/mine.parquet", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 rows kept" in (folder / "results/logs/prepare_dataset/mine.log").read_text()


def test_a_workflow_in_a_folder_with_braces_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "{x}").symlink_to(ROOT)
    done = snakemake(tmp_path, "-n", snakefile=tmp_path / "{x}/Snakefile")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert "/{x}: Snakemake takes braces in the path of a workflow for names of wildcards; rename" in said


def test_a_fingerprint_keeps_names_with_spaces(tmp_path: Path) -> None:
    file = tmp_path / "a % b's c%20d.py"
    file.write_text("x = 1\n")
    fingerprint = read_code("grade_samples", (str(file),)).fingerprint
    assert check_planned("grade_samples", fingerprint).chosen == (str(file),)
    assert Code("s", {}, ("astarpo.model.lora", "my/own-verifier_2.py")).fingerprint.endswith(
        " s astarpo.model.lora my/own-verifier_2.py"
    )
