"""Write config/README.md and config/schema.json from the types of the configuration.

python config/document.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "workflow_scripts"))

from astarpo.config.document import readme, schema_json  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    for path, text in ((FOLDER / "README.md", readme()), (FOLDER / "schema.json", schema_json())):
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            sys.exit(f"{path.name} is out of date: run python config/document.py")
        if not check:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
