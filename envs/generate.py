"""Write the conda environments envs/*.yaml from the pins in envs/pins/, the one place for every version.

python envs/generate.py          writes them
python envs/generate.py --check  writes nothing; fails if one is not what the pins say
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ENVIRONMENTS = {"light": "light", "torch": "torch", "engines": "engines-cuda"}  # name: file of pins
PYTHON = "3.11"
EXACT_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+")


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


def environment(name: str, pins: list[str]) -> str:
    """The text of a conda environment file that installs the pins with pip."""
    head = [
        f"# Written by envs/generate.py from envs/pins/{name}.txt. Edit the pins, then run it again.",
        "channels:",
        "  - conda-forge",
        "dependencies:",
        f"  - python={PYTHON}",
        "  - pip",
        "  - pip:",
    ]
    return "\n".join(head + [f"      - {pin}" for pin in pins]) + "\n"


def main() -> None:
    """Write the environment files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = []
    for name, pins in ENVIRONMENTS.items():
        path = FOLDER / f"{name}.yaml"
        text = environment(pins, read_pins(FOLDER / "pins" / f"{pins}.txt"))
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.exit(f"not what envs/pins/ says: {', '.join(stale)}; run: python envs/generate.py")


if __name__ == "__main__":
    main()
