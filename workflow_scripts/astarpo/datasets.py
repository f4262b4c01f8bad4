"""Data sets and benchmarks: rows from a source, checked, filtered, split by hash, with a card of what happened."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from astarpo.boxed import last_boxed
from astarpo.errors import InputError
from astarpo.generators import GENERATORS
from astarpo.prompts import render
from astarpo.seeds import unit_hash

Row = dict[str, Any]


def prepare(
    settings: dict[str, Any], name: str, benchmarks: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Row], dict[str, Any]]:
    """Make the rows of a data set or benchmark.

    Args:
        settings: ``source, columns, hash_range, max_prompts, drop_duplicates, template, verifier``, and with
            ``benchmarks`` also ``decontaminate``.
        name: of the entry, for messages.
        benchmarks: name -> problems that must not be in this data set.

    Returns:
        Rows with the columns of `columns.DATASET`, and the card: rows in, kept, dropped by reason, an example.

    Raises:
        InputError: the source is unreadable, a row is malformed, or nothing is left.
    """
    dropped: Counter[str] = Counter()
    rows_in, rows = 0, list[Row]()
    seen: Counter[str] = Counter()
    limit = settings["max_prompts"]
    raws: Iterable[Row] = read_source(settings["source"], settings["columns"])
    shared: dict[int, str] = {}
    if benchmarks:
        raws = list(raws)
        shared = _shared(raws, settings["decontaminate"], benchmarks)
    for index, raw in enumerate(raws):
        rows_in += 1
        reason = shared.get(index) or _reason_to_drop(raw, settings, seen)
        if reason is None and limit is not None and len(rows) >= limit:
            reason = "beyond max_prompts"
        if reason is not None:
            dropped[reason] += 1
            continue
        rows.append(_finished_row(raw, index, seen[raw["problem"]], settings))
    if not rows:
        raise InputError(
            f"{name}: no row is left of {rows_in} from {describe_source(settings['source'])}; dropped: "
            f"{dict(dropped) or 'none'}. Check hash_range, max_prompts and the verifier."
        )
    return rows, _card(settings, rows_in, rows, dropped)


def _shared(
    raws: Sequence[Row], how: dict[str, Any], benchmarks: Mapping[str, Sequence[str]]
) -> dict[int, str]:
    """Rows that a benchmark has as well, with the reason to drop them."""
    from astarpo.contamination import Settings, contaminated

    near = Settings(how["ngram"], how["threshold"])
    problems = [raw["problem"] for raw in raws]
    found: dict[int, str] = {}
    for benchmark, texts in benchmarks.items():
        for index, kind in contaminated(problems, texts, near, how["near"]).items():
            found.setdefault(index, f"in benchmark {benchmark} ({kind})")
    return found


def _finished_row(raw: Row, index: int, occurrence: int, settings: dict[str, Any]) -> Row:
    return {
        "prompt_id": prompt_id(raw["problem"], occurrence),
        "problem": raw["problem"],
        "prompt": render(settings["template"], raw["problem"]),
        "gold": raw["gold"],
        "verifier": settings["verifier"],
        "worked_solution": raw.get("worked_solution"),
        "source_index": index,
    }


def _reason_to_drop(raw: Row, settings: dict[str, Any], seen: Counter[str]) -> str | None:
    """Why a row is left out, None if it is not; notes the problems that it has seen."""
    low, high = settings["hash_range"]
    if not low <= unit_hash(normalise(raw["problem"])) < high:
        return "other hash range"
    if not raw["gold"]:
        return "no answer in its box"
    seen[raw["problem"]] += 1
    if settings["drop_duplicates"] and seen[raw["problem"]] > 1:
        return "duplicate problem"
    if not verifies(settings["verifier"], raw["gold"]):
        return "gold answer does not verify against itself"
    return None


def verifies(verifier: str, gold: str) -> bool:
    """Tell whether a verifier accepts a gold answer for itself: otherwise no response could be right.

    Golds of verifiers in files of their own are taken on trust.

    The verifiers are looked up by name at run time, so that they are no code input of the data stages:
    a verifier's fix grades anew, but draws no sample anew.
    """
    verifiers = importlib.import_module("astarpo.rewards.verifiers")
    if verifiers.is_own(verifier):
        return True  # which response would be right is not known
    try:
        verdict = verifiers.VERIFIERS[verifier](gold, verifiers.right_response(verifier, gold))
    except Exception:
        # A gold answer that the verifier cannot read is dropped and counted, whatever it raised.
        return False
    return bool(verdict.status == "correct")


def _card(
    settings: dict[str, Any], rows_in: int, rows: list[Row], dropped: Counter[str]
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['prompt_id']}\0{row['prompt']}\0{row['gold']}\n".encode())
    return {
        "source": settings["source"],
        "template": settings["template"],
        "verifier": settings["verifier"],
        "rows_in": rows_in,
        "rows_kept": len(rows),
        "rows_dropped": dict(sorted(dropped.items())),
        "sha256": digest.hexdigest(),
        "example": {key: rows[0][key] for key in ("prompt", "gold", "worked_solution")},
    }


def prompt_id(problem: str, occurrence: int = 1) -> str:
    """Name a prompt by its problem's text, so that the name is the same in every file and on every machine.

    Args:
        problem: the text.
        occurrence: 1 for the first row with this text, 2 for the next.
    """
    digest = hashlib.blake2b(problem.encode(), digest_size=8).hexdigest()
    return digest if occurrence == 1 else f"{digest}-{occurrence}"


def normalise(problem: str) -> str:
    """Fold case and white space, so that splits by hash do not tell trivial variants apart."""
    return " ".join(problem.casefold().split())


def shard_of(identifier: str, shards: int) -> int:
    """Which of ``shards`` jobs draws the samples of a prompt."""
    return (
        int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=4).digest(), "big") % shards
    )


def describe_source(source: dict[str, Any]) -> str:
    """Name a source for a message."""
    path = source.get("path")
    if isinstance(path, list):
        return ", ".join(path)
    return str(path or source.get("id") or source["kind"])


def read_source(source: dict[str, Any], columns: dict[str, Any]) -> Iterator[Row]:
    """Yield ``problem``, ``gold`` and ``worked_solution`` (or None) of every row.

    Args:
        source: ``{"kind": ..., ...}`` as in the configuration.
        columns: which columns are what; generated tasks have their own.

    Raises:
        InputError: naming file, row and column.
    """
    kind = source["kind"]
    if kind in GENERATORS:
        yield from GENERATORS[kind](**{key: source[key] for key in source if key != "kind"})
        return
    for index, raw in enumerate(read_rows(source), start=1):
        yield _pick(raw, columns, f"{describe_source(source)}, row {index}")


def read_rows(source: dict[str, Any]) -> Iterable[Row]:
    """Read the rows of a file or of a data set of the hub, in their original columns.

    Args:
        source: ``{"kind": "local" or "hub", ...}`` as in the configuration.

    Raises:
        InputError: the source cannot be read.
    """
    options = {key: value for key, value in source.items() if key != "kind"}
    if source["kind"] == "hub":
        return _read_hub(**options)
    path = options["path"]
    paths = [path] if isinstance(path, str) else path
    return itertools.chain.from_iterable(map(_read_local, paths))


def _read_local(path: str) -> Iterable[Row]:
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    if path.endswith(".parquet"):
        from astarpo.files import read_table

        return read_table(path).to_pylist()
    if path.endswith(".jsonl"):
        return _read_json_lines(Path(path))
    raise InputError(f"{path}: a local source must end in .jsonl or .parquet")


def _read_json_lines(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    for number, line in enumerate(
        text.split("\n"), start=1
    ):  # splitlines would cut at U+2028 as well
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: no JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, line {number}: must be a JSON object, but is {type(row).__name__}"
            )
        yield row


def _read_hub(id: str, name: str | None, split: str, revision: str | None) -> Iterable[Row]:  # noqa: A002
    from datasets import load_dataset

    try:
        return load_dataset(id, name, split=split, revision=revision)
    except Exception as error:
        # The hub's client raises a dozen kinds; all mean that the data cannot be had.
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the data set {id!r} (split {split!r}) cannot be loaded: {first_line} "
            "Check id, name, split and the network (HF_HUB_OFFLINE must not be set, unless it is in the cache); "
            "a gated data set needs a token in HF_TOKEN; without a hub, use a file: "
            "source: {kind: local, path: ...}"
        ) from error


def _pick(raw: Row, columns: dict[str, Any], where: str) -> Row:
    picked: Row = {"worked_solution": None}
    for role in ("problem", "gold", "worked_solution"):
        column = columns[role]
        if column is None:
            continue
        if column not in raw:
            raise InputError(
                f"{where}: there is no column {column!r} (columns.{role}); it has {', '.join(raw)}"
            )
        picked[role] = _text(raw[column], f"{where}, column {column!r}")
    if columns["worked_solution_remove"] is not None and picked["worked_solution"] is not None:
        picked["worked_solution"] = re.sub(
            columns["worked_solution_remove"], "", picked["worked_solution"]
        )
    picked["gold"] = _gold(picked["gold"], columns, where)
    if columns["verifier"] is not None and picked["gold"]:
        if columns["verifier"] not in raw:
            raise InputError(
                f"{where}: there is no column {columns['verifier']!r} (columns.verifier); it has {', '.join(raw)}"
            )
        picked["gold"] = f"{raw[columns['verifier']]}: {picked['gold']}"
    return picked


def _gold(text: str, columns: dict[str, Any], where: str) -> str:
    """The answer itself; empty only where ``gold_boxed`` finds an empty box or none, which drops the row."""
    if columns["gold_boxed"]:
        return (last_boxed(text) or "").strip()
    mark = columns["gold_after"]
    if mark is None:
        return text
    if mark not in text:
        raise InputError(f"{where}: no {mark!r} in column {columns['gold']!r}, so no answer")
    gold = text.rsplit(mark, 1)[1].strip()
    if not gold:
        raise InputError(f"{where}: the answer is empty")
    return gold


def _text(value: Any, where: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{where}: must be a text or a number, but is {value!r}")
    text = str(value)
    if not text.strip():
        raise InputError(f"{where}: is empty")
    return text
