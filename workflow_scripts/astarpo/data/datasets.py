"""Data sets and benchmarks: rows read from a source, checked, filtered, split by hash and summarised in a card."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astarpo.common.errors import InputError
from astarpo.common.seeds import unit_hash
from astarpo.data.generators import GENERATORS
from astarpo.data.golds import UNREADABLE, GoldLog, SpelledFloat, gold_of, text_of, try_own_verifier
from astarpo.data.prompts import render
from astarpo.data.rows import Card, DatasetRow, GoldEntries, Problem, SourceRow
from astarpo.data.settings import (
    Arithmetic,
    ChainSums,
    Columns,
    Contamination,
    Countdowns,
    DatasetSettings,
    DataSource,
    Decontamination,
    HubData,
    LocalFile,
)

if TYPE_CHECKING:
    import pyarrow as pa


def prepare(
    settings: DatasetSettings, name: str, benchmarks: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[DatasetRow], Card]:
    """Prepare the rows of a data set or benchmark.

    Args:
        settings: of the data set or benchmark.
        name: of the entry, for error messages.
        benchmarks: name -> problems that ``settings.decontaminate`` excludes from this data set.

    Returns:
        Rows with the columns of `columns.DATASET`, and the card: rows in, kept, dropped by reason, an example,
        rows whose gold answer cannot be read, and duplicate problems whose gold answers differ.

    Raises:
        InputError: the source is unreadable, a row is malformed, no row is left, or a custom verifier gives no
            verdict on the first gold answers.
    """
    dropped: Counter[str] = Counter()
    rows_in, rows = 0, list[DatasetRow]()
    golds = GoldLog(settings.verifier)
    limit = settings.max_prompts
    problems: Iterable[Problem] = read_source(settings.source, settings.columns)
    shared: dict[int, str] = {}
    if benchmarks and settings.decontaminate is not None:
        problems = list(problems)
        shared = _shared(problems, settings.decontaminate, benchmarks)
    for index, problem in enumerate(problems):
        rows_in += 1
        reason = shared.get(index) or _reason_to_drop(problem, index + 1, settings, golds)
        if reason is None and limit is not None and len(rows) >= limit:
            reason = "beyond max_prompts"
        if reason is not None:
            dropped[reason] += 1
            continue
        rows.append(_finished_row(problem, index, golds.occurrences[problem["problem"]], settings))
    entries = golds.entries()
    if not rows:
        examples = "".join(f" Row {one['row']} has {one['gold']!r}." for one in entries["unreadable_golds"][:3])
        raise InputError(
            f"{name}: none of {rows_in} rows is left from {describe_source(settings.source)}; dropped: "
            f"{dict(dropped) or 'none'}. Check hash_range, max_prompts and the verifier.{examples}"
        )
    try_own_verifier(settings.verifier, [row["gold"] for row in rows])
    return rows, _card(settings, rows_in, rows, dropped, entries)


def _shared(
    problems: Sequence[Problem], settings: Decontamination, benchmarks: Mapping[str, Sequence[str]]
) -> dict[int, str]:
    """Find the rows that a benchmark also has, and the reason for dropping each."""
    from astarpo.data.contamination import contaminated

    near = Contamination(**settings.only(Contamination))
    ours = [problem["problem"] for problem in problems]
    reasons: dict[int, str] = {}
    for benchmark, texts in benchmarks.items():
        for index, kind in contaminated(ours, texts, near, settings.near).items():
            reasons.setdefault(index, f"in benchmark {benchmark} ({kind})")
    return reasons


def _finished_row(raw: Problem, index: int, occurrence: int, settings: DatasetSettings) -> DatasetRow:
    assert raw["gold"] is not None, "a row without a gold answer is dropped"
    return {
        "prompt_id": prompt_id(raw["problem"], occurrence),
        "problem": raw["problem"],
        "prompt": render(settings.template, raw["problem"]),
        "gold": raw["gold"],
        "verifier": settings.verifier,
        "worked_solution": raw["worked_solution"],
        "source_index": index,
        "problem_kind": raw.get("problem_kind"),
        "level": raw.get("level"),
    }


def _reason_to_drop(raw: Problem, number: int, settings: DatasetSettings, golds: GoldLog) -> str | None:
    """Return why a row is dropped, or None; records problems and gold answers."""
    low, high = settings.hash_range
    if not low <= unit_hash(normalise(raw.get("split_by", raw["problem"]))) < high:
        return "other hash range"
    if raw["gold"] is None:
        return "gold answer is missing"
    if not raw["gold"]:
        return "no answer in its box"
    # Before duplicates, so that a row without a usable answer does not displace one that has it.
    if not golds.readable(number, raw["gold"]):
        return UNREADABLE
    if golds.occurrence(number, raw["problem"], raw["gold"]) > 1 and settings.drop_duplicates:
        return "duplicate problem"
    return None


def _card(
    settings: DatasetSettings, rows_in: int, rows: list[DatasetRow], dropped: Counter[str], entries: GoldEntries
) -> Card:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['prompt_id']}\0{row['prompt']}\0{row['gold']}\n".encode())
    return {
        "source": settings.source.model_dump(mode="json"),
        "template": settings.template,
        "verifier": settings.verifier,
        "rows_in": rows_in,
        "rows_kept": len(rows),
        "rows_dropped": dict(sorted(dropped.items())),
        "sha256": digest.hexdigest(),
        "example": {
            "prompt": rows[0]["prompt"],
            "gold": rows[0]["gold"],
            "worked_solution": rows[0]["worked_solution"],
        },
        **entries,
    }


def prompt_id(problem: str, occurrence: int = 1) -> str:
    """Name a prompt by a hash of its problem, so that it has the same name in every file and on every machine.

    Args:
        problem: the text.
        occurrence: 1 for the first row with this text, 2 for the next.
    """
    digest = hashlib.blake2b(problem.encode(), digest_size=8).hexdigest()
    return digest if occurrence == 1 else f"{digest}-{occurrence}"


def normalise(problem: str) -> str:
    """Fold case and white space, so that trivial variants hash alike."""
    return " ".join(problem.casefold().split())


def describe_source(source: DataSource) -> str:
    """Name a source in a message."""
    match source:
        case LocalFile():
            return ", ".join(_paths(source))
        case HubData():
            return source.id
    return source.kind


def _paths(source: LocalFile) -> Sequence[str]:
    return [source.path] if isinstance(source.path, str) else source.path


def read_source(source: DataSource, columns: Columns) -> Iterator[Problem]:
    """Yield ``problem``, ``gold`` and ``worked_solution`` (or None) of every row.

    Args:
        source: where the problems come from.
        columns: the names of the columns; not used for generated tasks.

    Raises:
        InputError: naming file, row and column.
    """
    if isinstance(source, Arithmetic | ChainSums | Countdowns):
        yield from GENERATORS[source.kind](**source.model_dump(exclude={"kind"}))
        return
    for index, raw in enumerate(read_rows(source), start=1):
        yield _pick(raw, columns, f"{describe_source(source)}, row {index}")


def read_rows(source: LocalFile | HubData) -> Iterable[SourceRow]:
    """Read the rows of files or of a data set on the hub, with their original columns.

    Args:
        source: files, or a data set on the hub.

    Raises:
        InputError: the source cannot be read.
    """
    if isinstance(source, HubData):
        return _read_hub(source)
    return itertools.chain.from_iterable(map(read_file, _paths(source)))


def read_file(path: str) -> Iterable[SourceRow]:
    """Read the rows of a JSON Lines or parquet file.

    Raises:
        InputError: the file is missing, has another format, or cannot be read.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    if path.endswith(".parquet"):
        from astarpo.common.files import read_table

        return _shortest_floats(read_table(path)).to_pylist()
    if path.endswith(".jsonl"):
        return _read_json_lines(Path(path))
    raise InputError(f"{path}: a local source must end in .jsonl or .parquet")


def _shortest_floats(table: pa.Table) -> pa.Table:
    """Read 0.1 in single precision as 0.1, not as the double 0.10000000149011612."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if field.type in (pa.float16(), pa.float32()):
            column = table.column(place).cast(pa.string()).cast(pa.float64())
            table = table.set_column(place, field.name, column)
    return table


def _read_json_lines(path: Path) -> Iterator[SourceRow]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        row = _parse_json(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: must be a JSON object, but is {type(row).__name__}")
        yield row


def _parse_json(line: str, place: str) -> object:
    try:
        row = json.loads(line, parse_float=SpelledFloat)
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not valid JSON ({error})") from error
    except UnicodeEncodeError as error:
        code = error.object[error.start].encode("unicode-escape").decode()
        raise InputError(
            f"{place}: {code} is half of a character (a lone surrogate), which no UTF-8 text can hold; correct "
            "or delete it"
        ) from error
    except RecursionError as error:
        raise InputError(f"{place}: lists and objects are nested too deeply to be read; flatten them") from error
    except ValueError as error:  # Python limits how many digits it converts
        raise InputError(f"{place}: an integer has too many digits to be read; put it in quotes") from error
    return row


def _read_hub(source: HubData) -> Iterable[SourceRow]:
    from datasets import load_dataset

    try:
        return load_dataset(source.id, source.name, split=source.split, revision=source.revision)
    except Exception as error:
        # The hub's client raises a dozen kinds of errors; all mean that the data is unavailable.
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the data set {source.id!r} (split {source.split!r}) cannot be loaded: {first_line} "
            "Check id, name, split and the network (HF_HUB_OFFLINE must not be set unless it is cached); "
            "a gated data set needs a token in HF_TOKEN; without a hub, use a file: "
            "source: {kind: local, path: ...}"
        ) from error


def _pick(raw: SourceRow, columns: Columns, place: str) -> Problem:
    def cell(role: str, column: str) -> object:
        if column not in raw:
            raise InputError(f"{place}: there is no column {column!r} (columns.{role}); it has {', '.join(raw)}")
        return raw[column]

    def label(role: str, column: str | None) -> str | None:
        value = None if column is None else cell(role, column)
        return None if value is None else str(value)

    problem = text_of(cell("problem", columns.problem), f"{place}, column {columns.problem!r}")
    gold = gold_of(cell("gold", columns.gold), columns, place)
    worked_solution = None
    if columns.worked_solution is not None:
        value = cell("worked_solution", columns.worked_solution)
        worked_solution = text_of(value, f"{place}, column {columns.worked_solution!r}")
        if columns.worked_solution_remove is not None:
            worked_solution = re.sub(columns.worked_solution_remove, "", worked_solution)
    if columns.verifier is not None and gold:
        gold = f"{cell('verifier', columns.verifier)}: {gold}"
    return {
        "problem": problem,
        "gold": gold,
        "worked_solution": worked_solution,
        "problem_kind": label("problem_kind", columns.problem_kind),
        "level": label("level", columns.level),
    }
