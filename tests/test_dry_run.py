"""Explanations of reruns, from dry runs as Snakemake prints them."""

from __future__ import annotations

import pytest

from astarpo.common.code import read_code
from astarpo.reruns import code_store
from astarpo.reruns.dry_run import ENVIRONMENT, PARAMS, changed_params, read_jobs
from astarpo.reruns.words import describe

UNION = "Params have changed since last execution: Union of exclusive params before and now across all output: "


def block(rule: str, output: str, reason: str, wildcards: str = "", kind: str = "rule") -> str:
    entries = {"input": "a, b", "output": output, "log": f"{output}.log", "jobid": "3", "reason": reason}
    named = entries | ({"wildcards": wildcards} if wildcards else {})
    lines = "".join(f"    {name}: {text}\n" for name, text in named.items() if text)
    return f"[Thu Nov 26 11:01:39 2026]\n{kind} {rule}:\n{lines}"


def told(*blocks: str) -> list[str]:
    return describe(read_jobs("Building DAG of jobs...\n" + "".join(blocks) + "Job stats:\njob count\n"))


def settings_changed(before: str, now: str) -> str:
    return f"{UNION}before: {before!r} now: {now!r} "


def test_seeds_of_a_run_are_one_line():
    reason = settings_changed('{"of":{"beta2":0.001},"lr":1}', '{"of":{"beta2":0.002},"lr":1}')
    blocks = [block("train_policy", f"r/{seed}/m.json", reason, f"run=a, seed={seed}") for seed in (0, 1)]
    other = block("train_policy", "r/b", settings_changed('{"lr":1}', '{"lr":2,"x":"y"}'), "run=b, seed=7")
    assert told(*blocks, other) == [
        "train a, 2 seeds: beta2 0.001 -> 0.002",
        'train b, seed 7: lr 1 -> 2, x (none) -> "y"',
    ]


def test_what_only_collects_is_left_out_and_followers_name_what_they_follow():
    made = block("grade", "g.parquet", "Missing output files: g.parquet", "block=s0-p0")
    below = block(
        "values", "v.parquet", "Input files updated by another job: g.parquet; Code has changed since last execution"
    )
    collects = block("all", "", "Input files updated by another job: v.parquet", kind="localrule")
    assert told(made, below, collects) == ["grade s0-p0: new", "values: after grade; the rule's command changed"]


def test_blocks_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "3.log").write_text("ran")
    blocks = [
        block("sample_reference", f"{n}", f"Missing output files: {n}", f"reference=tiny, dataset=sums, block=s{n}-p0")
        for n in (2, 3, 4)
    ]
    assert told(*blocks) == [
        "sample 2 blocks of tiny on sums: new",
        "sample 1 block of tiny on sums: output is missing",
    ]


def test_texts_inside_settings_cut_nothing():
    before = '{"template":"before: now: a; Forced execution; b"}'
    now = '{"template":"it\'s now: \\\\\'c"}'
    reason = f"{UNION}before: {before!r},'--source x' now: {now!r} ; {ENVIRONMENT}"
    (job,) = read_jobs(block("prepare", "p", reason))
    assert changed_params(job.reasons[PARAMS]) == ([before, "--source x"], [now])
    assert told(block("prepare", "p", f"{UNION}before: <nothing exclusive> now: '--source x' ")) == [
        "prepare: other options"
    ]


def test_modules_that_changed_are_named_where_they_were_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = read_code("grade_answers", ())
    then = {**now.modules, "astarpo/rewards/numbers.py": "0"}
    old = "0" * 16 + " grade_answers"
    reason = f"{UNION}before: {old!r} now: {now.fingerprint!r} "
    assert told(block("grade_answers", "g", reason)) == ["grade_answers: code changed"]
    code_store.write_json(code_store.STORE / f"{'0' * 16}.json", then)
    assert told(block("grade_answers", "g", reason)) == ["grade_answers: code of rewards/numbers.py changed"]


def test_the_code_of_jobs_is_kept_by_its_fingerprint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = read_code("train_policy", ("astarpo.objectives.rebel",))
    assert code_store.recall(code.fingerprint) is None
    code_store.remember([code.fingerprint])
    assert code_store.recall(code.fingerprint) == dict(code.modules)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Forced execution", "forced"),
        ("Updated input files: data/own.jsonl", "data/own.jsonl changed"),
        ("Set of input files has changed since last execution", "other inputs"),
        ("Software environment definition has changed since last execution", "the environment changed"),
        ("Incomplete output files: x", "was interrupted"),
    ],
)
def test_every_reason_has_words(reason, words):
    assert told(block("prepare", "p", reason)) == [f"prepare: {words}"]
