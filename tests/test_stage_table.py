"""The stage table: one entry for each rule that has settings, known by the rule's name everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from config_case import DEFAULT

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.config.expected import expected_results
from astarpo.config.stages.table import STAGES, find_stage

ROOT = Path(__file__).resolve().parents[1]


def rules() -> Iterator[tuple[str, str]]:
    """(name, text) of every rule; those that plot share the name of their script."""
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^(?= *rule\b)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name = re.search(r'rule (\w+):|rule:\s+name:\s+f"(\w+?)_?\{', text)
            assert name, text.split("\n")[0]
            yield name[1] or name[2], text


def test_a_rule_takes_code_settings_and_inputs_from_the_entry_of_its_name():
    for name, text in rules():
        requested = re.findall(r"\b(code|settings|inputs)\(([^)]*)\)", text)
        if requested:
            kinds, arguments = zip(*requested, strict=True)
            assert sorted(kinds) == ["code", "inputs", "settings"], name
            assert set(arguments) == {f'"{name}"'}, name


def test_every_rule_with_settings_has_its_entry_and_every_entry_its_rule_and_script():
    assert {name for name, text in rules() if "settings=" in text} == set(STAGES)
    assert not [name for name in STAGES if not (ROOT / "workflow_scripts" / f"{name}.py").is_file()]


def test_results_of_every_stage_that_records_what_they_were_made_from_are_checked():
    imported = load_config(
        {
            **DEFAULT,
            "datasets": {
                **DEFAULT["datasets"],
                "sums": {
                    **DEFAULT["datasets"]["sums"],
                    "samples": {
                        "reference": "tiny",
                        "source": {"kind": "local", "path": "samples.jsonl"},
                        "problem": "problem",
                        "response": "response",
                    },
                },
            },
        }
    )
    rows = [row for config in (load_config(DEFAULT), imported) for row in expected_results(config)]
    assert {row["rule"] for row in rows} == {name for name, stage in STAGES.items() if stage.record is not None}


def test_a_stage_that_does_not_exist_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="there is no stage 'train_polcy' .* did you mean 'train_policy'"):
        find_stage("train_polcy")


def test_a_rule_that_asks_for_no_stage_stops_snakemake_with_one_line(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f'configfile: "{ROOT}/config/config.yaml"\n'
        f'include: "{ROOT}/rules/common.smk"\n'
        'rule wrong:\n    output: "x"\n    params: settings=settings("asking")\n    shell: "true"\n'
    )
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    printed = done.stdout + done.stderr
    (line,) = [line for line in printed.splitlines() if "no stage 'asking'" in line]
    assert "astarpo/config/stages" in line and "generate_answers" in line
    assert "Traceback" not in printed and "KeyError" not in printed
