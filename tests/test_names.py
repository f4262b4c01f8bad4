"""Names and paths: no two entries share a file, and no name leads out of its folder."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from pathlib import Path

import pytest
from config_case import DEFAULT, changed, message
from pydantic import TypeAdapter, ValidationError

from astarpo.common.kinds import Name
from astarpo.config import load_config, paths
from astarpo.config.patterns import NAME

ROOT = Path(__file__).resolve().parent.parent
# Chosen to meet: parts of one another, joined in every way, and words that occur in the paths.
NAMES = (
    "a",
    "b",
    "c",
    "a-",
    "a--b",
    "b--c",
    "a---b",
    "a-b",
    "0",
    "seed-0",
    "model",
    "manifest",
    "block-s0-p0",
    "graded",
)
WILDCARD = re.compile(r"\{\{?(\w+)[^{}]*\}?\}")


@pytest.mark.parametrize(
    "make",
    [
        paths.contamination_path,
        paths.training_folder,
        lambda a, b: paths.block_path(a, b, "s0-p0", "parquet"),
        lambda a, b: paths.evaluation_path(a, b, "c", "graded"),
        lambda a, b: paths.evaluation_path("a", a, b, "generations"),
        lambda a, b: paths.evaluation_path(f"{a}.seed-1", b, "c", "graded"),
        lambda a, b: paths.policy_path(a) if b == "a" else paths.policy_path(f"{a}.seed-{NAMES.index(b)}"),
    ],
)
def test_pairs_of_names_have_paths_of_their_own(make):
    made = defaultdict(set)
    for pair in itertools.product(NAMES, NAMES):
        made[make(*pair)].add(pair)
    assert all(len(pairs) == 1 for pairs in made.values())


def patterns() -> list[str]:
    """All paths with wildcards in the rules, and in the functions that spell paths."""
    texts = [path.read_text() for path in (*ROOT.glob("rules/*.smk"), Path(paths.__file__))]
    return sorted({text for file in texts for text in re.findall(r'"(results/[^"\s]*\{[^"\s]*)"', file)})


@pytest.mark.parametrize("pattern", patterns())
def test_wildcards_are_apart_by_what_no_name_has(pattern):
    """So that a path has one reading, whatever the names are."""
    literals = WILDCARD.split(pattern)[::2]
    for between in literals[1:-1]:
        assert re.search(r"[^a-z0-9-]", between), pattern


def test_the_patterns_were_found():
    found = patterns()
    assert len(found) > 30 and "results/contamination/{dataset}/{benchmark}.json" in found
    assert WILDCARD.split("results/usage/a/{dataset}/{block}.tsv")[1::2] == ["dataset", "block"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "A", "a.b", "a_b", "-a", "a\n", "a b", "ä", "a{b}", "٣"]
)
def test_what_is_no_name_is_refused_in_every_registry(name):
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)
    assert not re.fullmatch(NAME, name)
    for registry in ("datasets", "benchmarks", "references", "selections", "values", "runs", "figures"):
        entries = DEFAULT.get(registry, {})
        entry = next(iter(entries.values()))
        assert f"{registry}.{name}" in message({**DEFAULT, registry: {**entries, name: entry}})
    protocols = {name: {"temperature": 0.0, "max_new_tokens": 8}}
    assert "protocols" in message(changed(benchmarks__held_dash_out__protocols=protocols))


def test_names_in_any_registry_may_have_two_hyphens():
    sums, held_out = DEFAULT["datasets"]["sums"], DEFAULT["benchmarks"]["held-out"]
    raw = {
        **DEFAULT,
        "datasets": {**DEFAULT["datasets"], "a": sums, "a--b": sums},
        "benchmarks": {**DEFAULT["benchmarks"], "c": held_out, "b--c": held_out},
    }
    config = load_config(raw)
    assert {"a", "a--b"} <= set(config.datasets) and {"c", "b--c"} <= set(config.benchmarks)


@pytest.mark.parametrize("registry", ["values", "runs"])
def test_two_values_of_a_grid_never_become_one_name(registry):
    entry = next(iter(DEFAULT[registry].values()))
    key = {"values": "beta1", "runs": "lr"}[registry]
    for pair in ([0.5, "0.5"], [0.1, 0.10000000001], [1e-3, "1e-3"]):
        raw = {**DEFAULT, registry: {**DEFAULT[registry], "x": {**entry, "grid": {key: pair}}}}
        assert "two entries expand to the name" in message(raw)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"datasets__sums__source": {"kind": "local", "path": "d {x}.jsonl"}}, "datasets.sums.source.path"),
        (
            {"datasets__sums__source": {"kind": "local", "path": ["a.jsonl", "{x}/b.jsonl"]}},
            "datasets.sums.source.path",
        ),
        (
            {"benchmarks__held_dash_out__source": {"kind": "local", "path": "{}.jsonl"}},
            "benchmarks.held-out.source.path",
        ),
        ({"references__tiny__source": {"kind": "local", "path": "m}"}}, "references.tiny.source.path"),
        (
            {
                "datasets__sums__samples": {
                    "reference": "tiny",
                    "source": {"kind": "local", "path": "{x}.parquet"},
                    "problem": "problem",
                    "response": "response_{i}",
                }
            },
            "datasets.sums.samples.source.path",
        ),
    ],
)
def test_a_path_that_snakemake_would_change_is_refused(changes, key):
    """`{dataset}` would silently become the data set's name, other names end in an error about wildcards."""
    said = message(changed(**changes))
    assert re.search(rf"{re.escape(key)} = '[^']*': must not contain '{{' or '}}', which .*; rename the file", said)


def test_a_verifier_in_such_a_path_is_refused(tmp_path):
    folder = tmp_path / "{x}"
    folder.mkdir()
    (folder / "v.py").write_text("def right(response, gold):\n    return None\n")
    assert f"datasets.sums.verifier = '{folder}/v.py': must not" in message(
        changed(datasets__sums__verifier=f"{folder}/v.py:right")
    )
