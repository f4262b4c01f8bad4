"""Write a bill of materials (CycloneDX, JSON) of each environment, from envs/locks/.

python envs/sbom.py --out FOLDER     writes FOLDER/<environment>.cdx.json

The files have no time, and are the same for the same locks.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from locked import INSTALLED, locked
from packageurl import PackageURL

# The library has no document without a time; this one is the same in every file.
NO_TIME = datetime(1980, 1, 1, tzinfo=UTC)
PROJECT = "astarpo"


def bill_of_materials(environment: str) -> str:
    """The bill of materials of an environment as JSON.

    Args:
        environment: a name in `locked.INSTALLED`.

    Raises:
        ValueError: the text is not valid by the schema of CycloneDX 1.6.
    """
    root = Component(name=f"{PROJECT}-{environment}", type=ComponentType.APPLICATION, bom_ref=environment)
    bom = Bom(metadata=BomMetaData(component=root, timestamp=NO_TIME))
    for name, version in locked(environment):
        url = PackageURL("pypi", name=name, version=version)
        bom.components.add(Component(name=name, version=version, purl=url, bom_ref=url.to_string()))
    bom.register_dependency(root, bom.components)
    contents = "\n".join(sorted(str(component.purl) for component in bom.components))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{root.name}\n{contents}")
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise ValueError(f"{environment}: {problem}")
    return text + "\n"


def main() -> None:
    """Write every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for environment in INSTALLED:
        try:
            text = bill_of_materials(environment)
        except ValueError as error:
            sys.exit(f"error: {error}")
        (folder / f"{environment}.cdx.json").write_text(text, encoding="utf-8")
        print(f"{folder / environment}.cdx.json: {len(locked(environment))} packages")


if __name__ == "__main__":
    main()
