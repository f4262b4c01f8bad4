"""Write envs/locks/*.txt: every package that the pins in envs/pins/ need, with its version and its files' hashes.

python envs/lock.py --find-links LINKS [OPTION OF UV ...]     needs uv (pip install uv) and a package index

Versions that are already locked stay, unless a pin or `--upgrade` changes them. LINKS is where vLLM for CPUs finds its
`torch==...+cpu`: a folder with that wheel, or torch's page in PyTorch's index of CPU builds. torch-cpu.txt is written
by hand, as it says.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PYTHON = "3.11"
# What a torch for GPUs needs and one for CPUs does not.
FOR_GPUS = re.compile(r"(nvidia|cuda)-.*|triton|torch")
# vLLM for CPUs names them, but their builds for GPUs break transformers beside a torch for CPUs.
BROKEN = re.compile(r"torch|torchvision|torchaudio|torchcodec")
TESTING = ("hypothesis", "pytest")
HEAD = "# Written by envs/lock.py from envs/pins/{}. Install with: pip install --require-hashes --no-deps -r {}\n"
ENTRY = re.compile(r"^([\w.-]+)==\S+.*?(?=^[\w.-]+==|\Z)", re.MULTILINE | re.DOTALL)
Lock = dict[str, str]  # package -> its lines


def compile_pins(names: list[str], options: list[str], keep: list[Path], pins: str = "") -> Lock:
    """Resolve files of pins with uv.

    Args:
        names: files in envs/pins/, without ``.txt``.
        options: further options of uv.
        keep: files of locks whose versions are kept where possible.
        pins: further pins, one a line.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted, out = Path(folder) / "wanted.in", Path(folder) / "out.txt"
        wanted.write_text("".join(f"-r {FOLDER / 'pins' / name}.txt\n" for name in names) + pins, encoding="utf-8")
        out.write_text("".join(path.read_text(encoding="utf-8") for path in keep if path.exists()), encoding="utf-8")
        command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
        command += ["--python-version", PYTHON, *options, str(wanted), "-o", str(out)]
        subprocess.run(command, check=True)
        return read_lock(out)


def read_lock(path: Path) -> Lock:
    """Read a file of locks: package -> its lines, from ``NAME==VERSION`` to the last hash of its last version."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lock: Lock = {}
    for match in ENTRY.finditer(text):  # a package may have other versions for other Pythons
        lock[match[1]] = lock.get(match[1], "") + match[0]
    return lock


def write_lock(name: str, pins: str, lock: Lock) -> None:
    """Write envs/locks/NAME.txt."""
    head = HEAD.format(pins, f"envs/locks/{name}.txt")
    (FOLDER / "locks" / f"{name}.txt").write_text(head + "".join(lock.values()), encoding="utf-8")


def without(lock: Lock, names: re.Pattern[str]) -> Lock:
    """A lock without the packages of a pattern."""
    return {name: lines for name, lines in lock.items() if not names.fullmatch(name)}


def beyond(lock: Lock, other: Lock) -> Lock:
    """What a lock has and another one, installed before it, has not.

    Raises:
        ValueError: they have different versions of a package.
    """
    different = [name for name, lines in lock.items() if name in other and other[name] != lines]
    if different:
        raise ValueError(f"torch.txt has other versions of {', '.join(different)}; pin them in both")
    return {name: lines for name, lines in lock.items() if name not in other}


def main() -> None:
    """Write every file, the one of torch first, as the others keep its versions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--find-links", required=True, metavar="LINKS", help="where to find torch for CPUs")
    arguments, more = parser.parse_known_args()
    folder = FOLDER / "locks"
    usual = [folder / "torch.txt", folder / "torch-gpu.txt"]
    everywhere, one_kind = ["--universal"], ["--python-platform", "x86_64-manylinux_2_28"]
    constraints = [part for name in ("test", "trl") for part in ("-c", str(FOLDER / "pins" / f"{name}.txt"))]
    torch = compile_pins(["torch"], [*everywhere, *constraints, *more], usual)
    write_lock("torch", "torch.txt, but for torch itself", without(torch, FOR_GPUS))
    write_lock("torch-gpu", "torch.txt: torch from PyPI", {n: t for n, t in torch.items() if FOR_GPUS.fullmatch(n)})
    pins = (FOLDER / "pins" / "test.txt").read_text(encoding="utf-8").splitlines()
    testing = "".join(f"{pin}\n" for pin in pins if pin.split("==")[0] in TESTING)
    for name in ("test", "trl", "uv"):
        lock = compile_pins(
            [name], everywhere + more, [*usual, folder / f"{name}.txt"], testing if name == "trl" else ""
        )
        write_lock(name, f"{name}.txt, but for what torch.txt has", beyond(lock, torch))
    links = ["--find-links", arguments.find_links]
    engines = compile_pins(["engines-cpu"], [*one_kind, *links, *more], [folder / "engines-cpu.txt"], testing)
    write_lock("engines-cpu", "engines-cpu.txt", without(engines, BROKEN))
    write_lock("gpu", "gpu.txt", compile_pins(["gpu"], everywhere + more, [folder / "gpu.txt"], testing))


if __name__ == "__main__":
    main()
