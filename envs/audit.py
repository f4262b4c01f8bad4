"""Compare the locked packages with a stored list of security advisories, offline.

python envs/audit.py [--advisories FOLDER] [--ignore ID ...]

The list is a folder of OSV files (JSON, one advisory each, subfolders included): the export of the ecosystem PyPI from
https://osv.dev, unpacked. Exit status 1 if a locked version is affected.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from locked import INSTALLED, locked
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

STORED = Path(__file__).resolve().parent / "advisories"
Advisory = Mapping[str, Any]


def affects(advisory: Advisory, name: str, version: str) -> bool:
    """Whether an OSV advisory affects a version of a PyPI package; https://ossf.github.io/osv-schema has the rules.

    Args:
        advisory: a parsed OSV file.
        name: the package.
        version: its version; a local part, as in ``2.13.0+cpu``, does not count.
    """
    installed = Version(Version(version).public)
    return "withdrawn" not in advisory and any(
        affected["package"]["ecosystem"] == "PyPI"
        and canonicalize_name(affected["package"]["name"]) == canonicalize_name(name)
        and (_listed(affected, installed) or any(_within(one["events"], installed) for one in _ranges(affected)))
        for affected in advisory.get("affected", ())
        if "package" in affected
    )


def _listed(affected: Advisory, installed: Version) -> bool:
    return any(_version(text) == installed for text in affected.get("versions", ()))


def _ranges(affected: Advisory) -> Iterable[Advisory]:
    return [one for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"]


def _within(events: Iterable[Mapping[str, str]], installed: Version) -> bool:
    """Go through the events in the order of their versions: the last one that has happened decides."""
    happened = [(version, kind) for event in events for kind, text in event.items() if (version := _version(text))]
    vulnerable = False
    for version, kind in sorted(happened):
        if kind == "introduced" and installed >= version:
            vulnerable = True
        elif (kind == "fixed" and installed >= version) or (kind == "last_affected" and installed > version):
            vulnerable = False
    return vulnerable


def _version(text: str) -> Version | None:
    """None for the few old versions that are not valid any more."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def read_advisories(folder: Path) -> list[Advisory]:
    """Read a folder of OSV files.

    Raises:
        ValueError: a file is not an OSV advisory; the message names it.
    """
    advisories: list[Advisory] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            advisory = json.loads(path.read_text(encoding="utf-8"))
            advisories.append({"id": advisory["id"], "modified": advisory["modified"], **advisory})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not an OSV advisory ({type(error).__name__}: {error})") from error
    return advisories


def main() -> None:
    """Print what is affected, and how old the list is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--advisories", type=Path, default=STORED, help="folder of OSV files (default: envs/advisories)"
    )
    parser.add_argument("--ignore", nargs="*", default=[], metavar="ID", help="advisories that do not matter here")
    arguments = parser.parse_args()
    if not arguments.advisories.is_dir() and arguments.advisories == STORED:
        print(
            "audit skipped: no advisories are stored; unpack the export of PyPI from https://osv.dev into a folder, and"
        )
        print("name it: make audit ADVISORIES=FOLDER")
        return
    try:
        advisories = read_advisories(arguments.advisories)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if not advisories:
        sys.exit(f"error: {arguments.advisories}: there are no OSV files (*.json) here")
    packages = sorted({pair for environment in INSTALLED for pair in locked(environment)})
    found = [
        f"{name} {version}: {advisory['id']} {advisory.get('summary', '')}".rstrip()
        for name, version in packages
        for advisory in advisories
        if advisory["id"] not in arguments.ignore and affects(advisory, name, version)
    ]
    newest = max(advisory["modified"] for advisory in advisories)[:10]
    print(
        *found,
        f"{len(packages)} packages, {len(advisories)} advisories up to {newest}: {len(found)} affected",
        sep="\n",
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
