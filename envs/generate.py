"""Write the conda environments envs/*.yaml from the pins in envs/pins/, the one place for every version.

python envs/generate.py          writes them
python envs/generate.py --check  writes nothing; fails if one is not what the pins say
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
PYTHON = "3.11"
EXACT_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+")


class Environment(NamedTuple):
    """What the scripts of a stage need.

    Attributes:
        pins: a file of pins, without ``.txt``.
        imported: packages that the scripts import, directly or through the library; a test compares.
        alongside: packages that those load at run time, pinned so that their versions do not drift.
    """

    pins: str
    imported: str
    alongside: str = ""

    @property
    def packages(self) -> set[str]:
        """All of them."""
        return {*self.imported.split(), *self.alongside.split()}


MODEL = "huggingface-hub numpy pyarrow pydantic pydantic-core torch tqdm transformers"
VERIFIERS = "latex2sympy2-extended math-verify sympy"
ENVIRONMENTS = {
    "data": Environment("light", f"{VERIFIERS} datasets pyarrow pydantic pydantic-core reasoning-gym tqdm"),
    # transformers loads the first two to read GGUF files.
    "sampling": Environment("torch", f"{MODEL} tokenizers", "accelerate gguf jinja2 safetensors"),
    "sampling-vllm": Environment("engines-cuda", f"{MODEL} peft vllm", "jinja2 safetensors tokenizers"),
    "grading": Environment("light", f"{VERIFIERS} pyarrow pydantic pydantic-core tqdm"),
    "values": Environment("light", "numpy pyarrow pydantic pydantic-core tqdm"),
    "training": Environment("torch", f"{MODEL} {VERIFIERS}", "jinja2 safetensors tokenizers"),
    "training-deepspeed": Environment(
        "engines-cuda", f"{MODEL} {VERIFIERS} accelerate deepspeed peft vllm", "jinja2 ninja safetensors tokenizers"
    ),
    # The rule `report` runs Snakemake itself, which loads the configuration.
    "evaluation": Environment(
        "light", "jinja2 markupsafe numpy pandas pyarrow pydantic pydantic-core scipy tqdm", "snakemake"
    ),
    "plotting": Environment("light", "matplotlib numpy pandas pyarrow pydantic pydantic-core scipy tqdm"),
}


def read_pins(path: Path) -> list[str]:
    """Read a file of pins; a line ``-r FILE`` stands for the pins of that file.

    Args:
        path: a pip requirements file with exact versions only.

    Returns:
        The pins, ``name==version``, in the order of the file.

    Raises:
        ValueError: a line is no exact pin.
    """
    pins: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#")[0].strip()
        if text.startswith("-r "):
            pins += read_pins(path.parent / text.removeprefix("-r ").strip())
        elif EXACT_PIN.fullmatch(text):
            pins.append(text)
        elif text:
            raise ValueError(f"{path}, line {number}: {text!r} must be NAME==VERSION or -r FILE")
    return pins


def conda_text(name: str) -> str:
    """The text of a conda environment file that installs the packages of an environment with pip.

    Raises:
        ValueError: a package has no pin.
    """
    environment = ENVIRONMENTS[name]
    pins = read_pins(FOLDER / "pins" / f"{environment.pins}.txt")
    missing = environment.packages - {pin.split("==")[0] for pin in pins}
    if missing:
        raise ValueError(f"{name}: envs/pins/{environment.pins}.txt has no version of {', '.join(sorted(missing))}")
    head = [
        f"# Written by envs/generate.py, versions from envs/pins/{environment.pins}.txt. Edit these two, not this.",
        "channels:",
        "  - conda-forge",
        "dependencies:",
        f"  - python={PYTHON}",
        "  - pip",
        "  - pip:",
    ]
    return "\n".join(head + [f"      - {pin}" for pin in pins if pin.split("==")[0] in environment.packages]) + "\n"


def main() -> None:
    """Write the environment files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = []
    for name in ENVIRONMENTS:
        path = FOLDER / f"{name}.yaml"
        text = conda_text(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.exit(f"not what envs/pins/ says: {', '.join(stale)}; run: python envs/generate.py")


if __name__ == "__main__":
    main()
