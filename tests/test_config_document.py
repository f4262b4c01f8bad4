"""config/README.md and config/schema.json are what the types say."""

from pathlib import Path

import jsonschema
import yaml

from astarpo.config.document import readme, schema_json
from astarpo.config.runs import Config

CONFIG = Path(__file__).parent.parent / "config"


def test_the_files_are_up_to_date():
    assert (CONFIG / "README.md").read_text() == readme(), "run python config/document.py"
    assert (CONFIG / "schema.json").read_text() == schema_json()


def test_every_key_of_every_section_is_explained():
    for name, section in Config.model_json_schema()["$defs"].items():
        for key, field in section["properties"].items():
            assert field.get("description") or "const" in field, f"{name}.{key} has no description"
        assert section["additionalProperties"] is False


def test_the_embedded_default_satisfies_the_schema():
    import json

    jsonschema.validate(yaml.safe_load((CONFIG / "config.yaml").read_text()), json.loads(schema_json()))
