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


def test_keys_that_all_runs_share_are_printed_once():
    text = readme()
    assert text.count("| `weight_decay` |") == 2  # of a run, and of a warm start
    assert text.count("| `hash_range` |") == text.count("| `dpi` |") == 1
    run, a_star_po, grpo = (
        text.split(f"## {name}\n")[1].split("\n## ")[0] for name in ("Run", "AStarPORun", "GRPORun")
    )
    assert "| `responses_per_prompt` | whole number >= 1 | `1` |" in run
    assert "| `responses_per_prompt` | whole number >= 1 | `8` |" in grpo  # another default
    assert "responses_per_prompt" not in a_star_po and "[Run](#run)" in a_star_po
    assert "| `beta2` |" in a_star_po and "| `method` |" in a_star_po


def test_every_key_of_every_section_is_explained():
    for name, section in Config.model_json_schema()["$defs"].items():
        for key, field in section["properties"].items():
            assert field.get("description") or "const" in field, f"{name}.{key} has no description"
        assert section["additionalProperties"] is False


def test_the_embedded_default_satisfies_the_schema():
    import json

    jsonschema.validate(yaml.safe_load((CONFIG / "config.yaml").read_text()), json.loads(schema_json()))
