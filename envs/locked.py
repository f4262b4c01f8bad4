"""The locked packages of each environment, for the audit and the bill of materials."""

from __future__ import annotations

import re
from pathlib import Path

LOCKS = Path(__file__).resolve().parent / "locks"
# What is installed together: environment -> files in envs/locks/.
INSTALLED = {
    "workflow-cpu": ("torch", "torch-cpu", "uv"),
    "workflow-gpu": ("torch", "torch-gpu", "uv"),
    "test": ("torch", "torch-cpu", "test", "uv"),
    "trl": ("torch", "torch-cpu", "trl", "uv"),
    "engines-cpu": ("engines-cpu", "torch-cpu", "uv"),
    "gpu": ("gpu",),
}
ENTRY = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def locked(environment: str) -> list[tuple[str, str]]:
    """List the packages of an environment.

    Args:
        environment: a name in `INSTALLED`.

    Returns:
        (name, version), sorted; a name has several versions if Pythons or platforms need different ones.
    """
    texts = [(LOCKS / f"{name}.txt").read_text(encoding="utf-8") for name in INSTALLED[environment]]
    return sorted({pair for text in texts for pair in ENTRY.findall(text)})
