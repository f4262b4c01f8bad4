"""Environments, pins and imports are in step."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from astarpo.common.code import OPTIONAL, import_closure
from astarpo.objectives import METHODS

METHOD_MODULES = tuple(METHODS.modules.values())
ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow_scripts"
LOGGER = "snakemake_logger_plugin_stages"
OWN = {"astarpo", LOGGER, *(path.stem for path in [*SCRIPTS.glob("*.py"), *(ROOT / "tests").rglob("*.py")])}
DISTRIBUTION_OF = {"yaml": "pyyaml"}  # where the import's name is not the package's


def run_generate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "generate.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """A copy of envs/ to spoil."""
    return Path(shutil.copytree(ROOT / "envs", tmp_path / "envs"))


def test_environments_are_what_the_pins_say() -> None:
    checked = run_generate(ROOT / "envs", "--check")
    assert checked.returncode == 0, checked.stderr


def test_check_names_the_stale_environments_and_writes_nothing(envs: Path) -> None:
    pins = envs / "pins" / "torch.txt"
    pins.write_text(pins.read_text().replace("torch==", "torch==9.", 1))
    before = (envs / "torch.yaml").read_text()

    checked = run_generate(envs, "--check")

    assert checked.returncode == 1
    assert "torch.yaml" in checked.stderr
    assert "light.yaml" not in checked.stderr
    assert (envs / "torch.yaml").read_text() == before


def test_a_changed_pin_reaches_every_environment_that_has_it(envs: Path) -> None:
    pins = envs / "pins" / "light.txt"
    pins.write_text(re.sub(r"numpy==\S+", "numpy==1.2.3", pins.read_text()))

    assert run_generate(envs).returncode == 0

    for name in ("light", "torch"):
        assert (envs / f"{name}.yaml").read_text().count("- numpy==1.2.3\n") == 1
    assert run_generate(envs, "--check").returncode == 0


@pytest.mark.parametrize("line", ["numpy>=2", "numpy", "numpy==2.*", "git+x==1 @ y"])
def test_a_pin_that_is_not_exact_is_refused(envs: Path, line: str) -> None:
    (envs / "pins" / "light.txt").write_text(f"tqdm==4.0\n{line}\n")
    refused = run_generate(envs)
    assert refused.returncode != 0
    assert f"line 2: '{line}'" in refused.stderr


def names_pinned(*names: str) -> list[str]:
    """Packages that envs/pins/{name}.txt pin, those of the files they refer to included."""
    found: list[str] = []
    for name in names:
        text = (ROOT / "envs" / "pins" / f"{name}.txt").read_text()
        found += names_pinned(*re.findall(r"^-r ([\w-]+)\.txt", text, re.MULTILINE))
        found += re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    return found


def test_a_version_stands_in_one_place() -> None:
    names = names_pinned("test")
    assert len(names) == len(set(names))


def versions_pinned(*names: str) -> dict[str, str]:
    """Name to version of what envs/pins/{name}.txt pin themselves."""
    texts = [(ROOT / "envs" / "pins" / f"{name}.txt").read_text() for name in names]
    return dict(re.findall(r"^([\w.-]+)==(\S+)", "\n".join(texts), re.MULTILINE))


def test_engines_have_the_versions_of_torch_but_for_numpy() -> None:
    usual, engines = versions_pinned("light", "torch"), versions_pinned("engines")
    others = {name for name, version in engines.items() if usual.get(name) != version}
    assert others == {"numpy", "deepspeed", "ninja", "peft"}
    only_light = {"matplotlib", "scipy", "snakemake-executor-plugin-slurm"}
    assert usual.keys() - engines.keys() == only_light


def third_party(files: Iterable[Path]) -> set[str]:
    """Packages from outside the standard library that the files import, wherever in the code."""
    modules: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    modules -= OWN | set(sys.stdlib_module_names)
    return {DISTRIBUTION_OF.get(name, name).replace("_", "-") for name in modules}


def rules_with_scripts() -> list[tuple[str, str, str]]:
    """(rule, script, environment) of each rule that runs a script."""
    found = []
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            script = re.search(r'code\("(\w+)"', rule)
            environment = re.search(r"conda:\s+(?:\"\.\./envs/(\w+)\.yaml\"|(?:samples|answers|training)_env)", rule)
            if script:
                assert environment, f"{path.name}: rule {rule.split(':')[0]} has no conda environment"
                found += [
                    (rule.split(":")[0], script[1], name)
                    for name in ([environment[1]] if environment[1] else ["torch", "engines-cuda"])
                ]
    return found


@pytest.mark.parametrize(("rule", "script", "environment"), rules_with_scripts())
def test_a_rule_imports_only_what_its_environment_installs(rule: str, script: str, environment: str) -> None:
    path = SCRIPTS / f"{script}.py"
    # What needs engines of its own is chosen by the jobs of their environments; the rest any job may choose.
    needs_engines = {name for name in OPTIONAL if any(part in name for part in ("vllm", "deepspeed", "lora"))}
    chosen = None if environment.startswith("engines") else tuple(OPTIONAL - needs_engines) + METHOD_MODULES
    imported = third_party([path, *import_closure(path, chosen)])
    assert imported <= set(names_pinned(environment))


def test_every_script_belongs_to_a_rule() -> None:
    used = {
        "check_config",
        "compare_runs",
        "grade",
        "launch",
        "plan",
        "watch",
        *(script for _, script, _ in rules_with_scripts()),
    }
    assert {path.stem for path in SCRIPTS.glob("*.py")} == used


def test_everything_that_the_tests_import_is_pinned() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "envs").glob("*.py")]
    assert third_party(files) <= set(names_pinned("test", "tools", "trl", "engines")) | {"vllm"}
