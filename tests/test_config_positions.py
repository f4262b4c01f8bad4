"""Errors in the configuration name the file and the line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from config_case import DEFAULT

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.config.positions import check_files, with_positions

ROOT = Path(__file__).resolve().parent.parent


def refused(path, text):
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        check_files([path])
    return str(caught.value).removeprefix(f"{path}:")


def test_a_missing_brace_names_where_it_is_noticed_and_where_it_began(tmp_path):
    message = refused(tmp_path / "my.yaml", "runs:\n  a: {steps: 3\n  b: 2\n")
    assert message == (
        "3: not valid YAML: did not find expected ',' or '}' (while parsing a flow mapping, which begins in line 2)"
    )


def test_a_tab_is_named(tmp_path):
    message = refused(tmp_path / "my.yaml", "runs:\n\ta: 3\n")
    assert message == "2: not valid YAML: YAML does not allow tabs for indentation; use spaces"


def test_a_byte_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes("# käse\r\nruns:\r\n  # fée\r\n".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        check_files([path])
    assert str(caught.value) == (
        f"{path}:1: byte 4 of the file, 0xe4, is not UTF-8 (invalid continuation byte); save the file in UTF-8"
    )
    path.write_bytes("# käse\nruns:\n".encode() + b"  # f\xff")
    with pytest.raises(InputError, match="my.yaml:3: byte 20 of the file, 0xff, is not UTF-8 "):
        check_files([path])


def test_a_file_that_ends_within_a_brace(tmp_path):
    assert refused(tmp_path / "my.yaml", "runs: {a: 3").startswith(
        "2: not valid YAML: did not find expected ',' or '}'"
    )


def test_a_key_given_twice_would_lose_the_first_value(tmp_path):
    text = "machine: {device: cpu}\nruns:\n  a: &a {steps: 1}\n  b: {<<: *a, <<: *a}\n  a: {steps: 2}\n"
    assert refused(tmp_path / "my.yaml", text) == (
        "5: the key 'a' is repeated; its first value, in line 3, would be lost"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs:\n  steps: " + "1" * 5000, "2: an integer of 5000 characters, which is too long"),
        ("runs:\n  " + "[" * 60 + "]" * 60, "2: nested more than 50 levels deep"),
        ("runs:\n  " + "[" * 9000 + "]" * 9000, "2: nested more than 50 levels deep"),
        ("runs:\n  a: &a\n    b: [1, *a]", "2: this list or mapping contains itself, by an alias"),
    ],
)
def test_what_python_cannot_hold_is_named_with_its_line(text, expected, tmp_path):
    assert refused(tmp_path / "my.yaml", text).startswith(expected)


def test_an_alias_used_twice_is_not_circular(tmp_path):
    (tmp_path / "my.yaml").write_text("a: &a {x: [1]}\nb: [*a, *a]\nc: {d: *a}\ne: " + "[" * 49 + "]" * 49)
    check_files([tmp_path / "my.yaml"])


def test_valid_and_missing_files_pass(tmp_path):
    check_files([ROOT / "config/config.yaml", *ROOT.glob("config/recipes/**/*.yaml"), tmp_path / "none.yaml"])
    (tmp_path / "my.json").write_text(json.dumps({"runs": {"a": [1, {"b": "\t"}]}}))
    check_files([tmp_path / "my.json"])


def test_the_line_of_the_key_or_of_the_nearest_one_above_it(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("runs:\n  a:\n    lr: 1\n    seeds: [0,\n      x]\nmachine:\n  device: cpu\n")
    second.write_text("runs:\n  a: {lr: -1}\n  sweep:\n    grid: {lr: [0, 1]}\n")
    errors = [
        "runs.a.lr = -1: must be above 0",
        "runs.a.seeds.1 = 'x': must be a number",
        "runs.a.steps: this key is required",
        "runs.sweep-0.grid.lr = 0: must be above 0",
        "machine: unknown key 'device'; did you mean 'devices'?",
        "machine: unknown key 'other'.",
        "values.x: no such entry",
    ]
    lines = [line.removeprefix(str(tmp_path)) for line in with_positions(errors, [first, second])]
    places = ["/second.yaml:2: ", "/first.yaml:5: ", "/second.yaml:2: ", "/second.yaml:4: ", "/first.yaml:7: "]
    places += ["/first.yaml:6: ", ""]
    assert lines == [place + error for place, error in zip(places, errors, strict=True)]


def test_a_refused_configuration_says_where(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({**DEFAULT, "machine": {"device": "gpu", "divices": 1}}, sort_keys=False))
    lines = path.read_text().split("\n")
    with pytest.raises(InputError) as caught:
        load_config(yaml.safe_load(path.read_text()), [path])
    assert f"{path}:{lines.index('  divices: 1') + 1}: machine: unknown key 'divices'" in str(caught.value)


def test_the_script_checks_merged_files(tmp_path):
    mine = tmp_path / "my.yaml"
    mine.write_text("machine:\n  device: tpu\n")
    script = [sys.executable, ROOT / "workflow_scripts/check_config.py", ROOT / "config/config.yaml"]
    done = subprocess.run([*script, mine], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{mine}:2: machine.device = 'tpu': must be 'cpu' or 'cuda'" in done.stderr
    mine.write_text("machine:\n  device: cuda\n")
    done = subprocess.run([*script, mine], capture_output=True, text=True)
    assert done.stdout == "valid (runs: 1, data sets: 3, benchmarks: 2)\n", done.stderr
