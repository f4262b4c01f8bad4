"""Environments, pins and imports are in step."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from astarpo.common.code import OPTIONAL, import_closure
from astarpo.common.packages import BITSANDBYTES
from astarpo.figures import PLOTS
from astarpo.objectives import METHODS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "envs"))

from generate import ENVIRONMENTS  # noqa: E402

SCRIPTS = ROOT / "workflow_scripts"
LOGGER = "snakemake_logger_plugin_stages"
OWN = {
    "astarpo",
    "bench",
    "faults",
    "audit",
    "driver",
    "generate",
    "locked",
    "sbom",
    "trl_cases",
    "trl_limit",
    "trl_speed",
    LOGGER,
    *(path.stem for path in [*SCRIPTS.glob("*.py"), *(ROOT / "tests").rglob("*.py")]),
}
DISTRIBUTION_OF = {
    "yaml": "pyyaml",
    "cyclonedx": "cyclonedx-python-lib",
    "packageurl": "packageurl-python",
}  # where the import's name is not the package's


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
    before = (envs / "training.yaml").read_text()

    checked = run_generate(envs, "--check")

    assert checked.returncode == 1
    assert "sampling.yaml, training.yaml;" in checked.stderr
    assert "data.yaml" not in checked.stderr and "vllm" not in checked.stderr
    assert (envs / "training.yaml").read_text() == before


def test_a_changed_pin_reaches_every_environment_that_has_it(envs: Path) -> None:
    pins = envs / "pins" / "light.txt"
    pins.write_text(re.sub(r"numpy==\S+", "numpy==1.2.3", pins.read_text()))

    assert run_generate(envs).returncode == 0

    for name in ("values", "training", "plotting"):
        assert (envs / f"{name}.yaml").read_text().count("- numpy==1.2.3\n") == 1
    assert run_generate(envs, "--check").returncode == 0


@pytest.mark.parametrize("line", ["numpy>=2", "numpy", "numpy==2.*", "git+x==1 @ y"])
def test_a_pin_that_is_not_exact_is_refused(envs: Path, line: str) -> None:
    (envs / "pins" / "light.txt").write_text(f"tqdm==4.0\n{line}\n")
    refused = run_generate(envs)
    assert refused.returncode != 0
    assert f"line 2: '{line}'" in refused.stderr


def test_a_package_without_a_pin_is_refused(envs: Path) -> None:
    pins = envs / "pins" / "light.txt"
    pins.write_text(re.sub(r"scipy==\S+\n", "", pins.read_text()))
    refused = run_generate(envs)
    assert refused.returncode != 0
    assert "evaluation: envs/pins/light.txt has no version of scipy" in refused.stderr


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
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", "\n".join(texts), re.MULTILINE))


def test_engines_have_the_versions_of_torch() -> None:
    usual, engines = versions_pinned("light", "torch"), versions_pinned("engines")
    others = {name for name, version in engines.items() if usual.get(name) != version}
    assert others == {"deepspeed", "ninja", "peft"}
    only_usual = {"gguf", "markupsafe", "matplotlib", "rich", "scipy", "snakemake-executor-plugin-slurm"}
    assert usual.keys() - engines.keys() == {*only_usual, "numpy"}


def test_a_machine_with_gpus_gets_the_versions_of_all_others() -> None:
    """numpy is that of the engines up to Python 3.12, and that of the SLURM plugin from 3.13 on."""
    pins = (ROOT / "envs/pins/gpu.txt").read_text()
    elsewhere = versions_pinned("light", "torch") | versions_pinned("engines-cuda")
    numpy = {"<": versions_pinned("engines-cuda")["numpy"], ">=": versions_pinned("light")["numpy"]}
    own = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", pins, re.MULTILINE)) | {"numpy": numpy["<"]}
    assert own == {name: elsewhere[name] for name in own}
    assert set(own) > versions_pinned("light").keys() - versions_pinned("engines").keys()
    assert dict(re.findall(r'^numpy==(\S+); python_version (\S+) "3.13"$', pins, re.MULTILINE)) == {
        version: sign for sign, version in numpy.items()
    }


# Files of pins -> the locks that must have them, with the versions that are installed together.
LOCKED = {
    "torch": ("torch", "torch-gpu"),
    "test": ("torch", "torch-gpu", "test"),
    "trl": ("torch", "torch-gpu", "trl"),
    "uv": ("uv",),
    "engines-cpu": ("engines-cpu", "torch-cpu"),
    "gpu": ("gpu",),
}


def pins_with_references(name: str) -> dict[str, str]:
    text = (ROOT / "envs" / "pins" / f"{name}.txt").read_text()
    found: dict[str, str] = {}
    for other in re.findall(r"^-r ([\w-]+)\.txt", text, re.MULTILINE):
        found |= pins_with_references(other)
    return found | versions_pinned(name)


@pytest.mark.parametrize("name", LOCKED)
def test_the_locks_have_every_pin_in_its_version(name: str) -> None:
    locks = "".join((ROOT / f"envs/locks/{lock}.txt").read_text() for lock in LOCKED[name])
    versions = dict(re.findall(r"^([\w.-]+)==([^\s;\\+]+)", locks, re.MULTILINE))
    stale = {pin: version for pin, version in pins_with_references(name).items() if versions.get(pin) != version}
    assert not stale, "run: python envs/lock.py"


def test_every_locked_package_has_a_hash_and_no_line_names_a_place() -> None:
    files = sorted((ROOT / "envs/locks").glob("*.txt"))
    assert len(files) == 8
    for path in files:
        entries = re.split(r"^(?=[\w.-]+==)", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M), flags=re.M)[1:]
        for entry in entries:
            first, *hashes = entry.rstrip("\n").split(" \\\n")
            assert re.fullmatch(r"[\w.-]+==[\w.+!]+( ; .+)?", first), (path.name, first)
            assert hashes and all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", one) for one in hashes), first


def test_a_torch_for_cpus_is_the_pinned_one_and_no_lock_beside_it_has_libraries_of_gpus() -> None:
    torch = versions_pinned("torch")["torch"]
    assert f"\ntorch=={torch}+cpu " in (ROOT / "envs/locks/torch-cpu.txt").read_text()
    for name in ("torch", "test", "trl", "engines-cpu"):
        assert not re.findall(r"^(?:nvidia|cuda|torch)\b.*==", (ROOT / f"envs/locks/{name}.txt").read_text(), re.M), (
            name
        )


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


# Environments of rules that choose one for each job.
CHOICES = {
    "samples_env": ("sampling", "sampling-vllm"),
    "answers_env": ("sampling", "sampling-vllm"),
    "training_env": ("training", "training-deepspeed"),
}
# What jobs of an environment do not choose, of the modules that not every job uses.
ALL = {*OPTIONAL, *METHODS.modules.values(), *PLOTS.modules.values()}
NEED_ENGINES = ("vllm", "deepspeed", "lora")
NEVER_CHOSEN = {"sampling": NEED_ENGINES, "sampling-vllm": ("deepspeed",), "training": NEED_ENGINES}


def chosen_in(name: str) -> tuple[str, ...]:
    """Every optional module that a job of an environment may use."""
    return tuple(module for module in ALL if not any(part in module for part in NEVER_CHOSEN.get(name, ())))


def scripts_of_environments() -> dict[str, set[str]]:
    """Environment -> the scripts of the rules that name it."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^ *rule\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            script = re.search(r'code\("(\w+)"', rule)
            environment = re.search(r"conda:\s+(?:\"\.\./envs/([\w-]+)\.yaml\"|(\w+_env))", rule)
            if script:
                assert environment, f"{path.name}: the rule of {script[1]} has no conda environment"
                for name in CHOICES.get(environment[2], (environment[1],)):
                    found.setdefault(name, set()).add(script[1])
    return found


def code_of(script: str, chosen: tuple[str, ...]) -> set[Path]:
    """A script, the modules that it imports, and those that are imported by a text (`importlib.import_module`)."""
    waiting = [SCRIPTS / f"{script}.py", *import_closure(SCRIPTS / f"{script}.py", chosen)]
    found = set(waiting)
    while waiting:
        text = waiting.pop().read_text(encoding="utf-8")
        for name in re.findall(r'import_module\("(astarpo\.[\w.]+)"\)', text):
            new = modules_from(name, chosen) - found
            found |= new
            waiting += new
    return found


def modules_from(name: str, chosen: tuple[str, ...]) -> set[Path]:
    """A module and all that it imports."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "astarpo").symlink_to(SCRIPTS / "astarpo")
        script = Path(folder) / "script.py"
        script.write_text(f"import {name}\n", encoding="utf-8")
        return {path.resolve() for path in import_closure(script, chosen)}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_has_what_the_scripts_of_its_rules_import(name: str) -> None:
    scripts = {*scripts_of_environments()[name], "launch"}
    imported = third_party(path for script in scripts for path in code_of(script, chosen_in(name)))
    optional = {BITSANDBYTES.partition("==")[0]}  # users install it themselves
    assert imported - optional == set(ENVIRONMENTS[name].imported.split())
    assert not imported & set(ENVIRONMENTS[name].alongside.split())


def test_every_rule_names_an_environment_that_is_generated() -> None:
    assert set(scripts_of_environments()) == set(ENVIRONMENTS)
    written = {path.stem for path in (ROOT / "envs").glob("*.yaml")}
    assert written == set(ENVIRONMENTS)


# Forget every package that the environment does not have, then import what the rules import.
LOAD = """
import sys
packages = set({packages!r})
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].replace("_", "-") in packages:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.path.insert(0, {scripts!r})
{imports}
"""


def test_the_environment_of_the_report_can_load_the_rules() -> None:
    """The rule `report` starts Snakemake, which imports what the rule files import, before any job of another stage."""
    rules = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk"))]
    imports = re.findall(r"^(?:import astarpo|from astarpo[\w.]* import [^()\n]+)$", "\n".join(rules), re.MULTILINE)
    assert len(imports) > 10
    absent = set(names_pinned("torch")) - ENVIRONMENTS["evaluation"].packages
    code = LOAD.format(packages=absent, scripts=str(SCRIPTS), imports="\n".join(imports))
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr


def test_every_script_belongs_to_a_rule() -> None:
    used = {
        "check_config",
        "doctor",
        "compare_runs",
        "grade",
        "launch",
        "plan",
        "watch",
        *(script for scripts in scripts_of_environments().values() for script in scripts),
    }
    assert {path.stem for path in SCRIPTS.glob("*.py")} == used


def test_everything_that_the_tests_import_is_pinned() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "envs").glob("*.py")]
    assert third_party(files) <= set(names_pinned("test", "trl", "engines", "torch")) | {"vllm"}
