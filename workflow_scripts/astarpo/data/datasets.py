"""Data sets and benchmarks: rows from a source, checked, filtered, split by hash, with a card of what happened."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astarpo.common.errors import InputError
from astarpo.common.seeds import unit_hash
from astarpo.data.generators import GENERATORS
from astarpo.data.golds import UNREADABLE, GoldLog, SpelledFloat, gold_of, text_of, try_own_verifier
from astarpo.data.prompts import render

if TYPE_CHECKING:
    import pyarrow as pa

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
        Rows with the columns of `columns.DATASET`, and the card: rows in, kept, dropped by reason, an example,
        rows whose gold answer cannot be read, and duplicate problems whose gold answers differ.

    Raises:
        InputError: the source is unreadable, a row is malformed, nothing is left, or a verifier of your own gives no
            verdict on the first gold answers.
    """
    dropped: Counter[str] = Counter()
    rows_in, rows = 0, list[Row]()
    golds = GoldLog(settings["verifier"])
    limit = settings["max_prompts"]
    raws: Iterable[Row] = read_source(settings["source"], settings["columns"])
    shared: dict[int, str] = {}
    if benchmarks:
        raws = list(raws)
        shared = _shared(raws, settings["decontaminate"], benchmarks)
    for index, raw in enumerate(raws):
        rows_in += 1
        reason = shared.get(index) or _reason_to_drop(raw, index + 1, settings, golds)
        if reason is None and limit is not None and len(rows) >= limit:
            reason = "beyond max_prompts"
        if reason is not None:
            dropped[reason] += 1
            continue
        rows.append(_finished_row(raw, index, golds.occurrences[raw["problem"]], settings))
    noted = golds.entries()
    if not rows:
        examples = "".join(f" Row {one['row']} has {one['gold']!r}." for one in noted["unreadable_golds"][:3])
        raise InputError(
            f"{name}: no row is left of {rows_in} from {describe_source(settings['source'])}; dropped: "
            f"{dict(dropped) or 'none'}. Check hash_range, max_prompts and the verifier.{examples}"
        )
    try_own_verifier(settings["verifier"], [row["gold"] for row in rows])
    return rows, {**_card(settings, rows_in, rows, dropped), **noted}


def _shared(raws: Sequence[Row], how: dict[str, Any], benchmarks: Mapping[str, Sequence[str]]) -> dict[int, str]:
    """Rows that a benchmark has as well, with the reason to drop them."""
    from astarpo.data.contamination import contaminated
    from astarpo.data.settings import Contamination

    near = Contamination(ngram=how["ngram"], threshold=how["threshold"])
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


def _reason_to_drop(raw: Row, number: int, settings: dict[str, Any], golds: GoldLog) -> str | None:
    """Why a row is left out, None if it is not; notes problems and gold answers."""
    low, high = settings["hash_range"]
    if not low <= unit_hash(normalise(raw["problem"])) < high:
        return "other hash range"
    if raw["gold"] is None:
        return "gold answer is missing"
    if not raw["gold"]:
        return "no answer in its box"
    # Before duplicates, so that a row without a usable answer does not take the place of one that has it.
    if not golds.readable(number, raw["gold"]):
        return UNREADABLE
    if golds.occurrence(number, raw["problem"], raw["gold"]) > 1 and settings["drop_duplicates"]:
        return "duplicate problem"
    return None


def _card(settings: dict[str, Any], rows_in: int, rows: list[Row], dropped: Counter[str]) -> dict[str, Any]:
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
        from astarpo.common.files import read_table

        return _shortest_floats(read_table(path)).to_pylist()
    if path.endswith(".jsonl"):
        return _read_json_lines(Path(path))
    raise InputError(f"{path}: a local source must end in .jsonl or .parquet")


def _shortest_floats(table: pa.Table) -> pa.Table:
    """Take 0.1 in single precision for 0.1, not for the double 0.10000000149011612."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if field.type in (pa.float16(), pa.float32()):
            column = table.column(place).cast(pa.string()).cast(pa.float64())
            table = table.set_column(place, field.name, column)
    return table


def _read_json_lines(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would cut at U+2028 as well
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=SpelledFloat)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not valid JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: must be a JSON object, but is {type(row).__name__}")
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
            raise InputError(f"{where}: there is no column {column!r} (columns.{role}); it has {', '.join(raw)}")
        picked[role] = (
            gold_of(raw[column], columns, where)
            if role == "gold"
            else text_of(raw[column], f"{where}, column {column!r}")
        )
    if columns["worked_solution_remove"] is not None and picked["worked_solution"] is not None:
        picked["worked_solution"] = re.sub(columns["worked_solution_remove"], "", picked["worked_solution"])
    if columns["verifier"] is not None and picked["gold"]:
        if columns["verifier"] not in raw:
            raise InputError(
                f"{where}: there is no column {columns['verifier']!r} (columns.verifier); it has {', '.join(raw)}"
            )
        picked["gold"] = f"{raw[columns['verifier']]}: {picked['gold']}"
    return picked
