"""Reading problems from their sources: generated tasks, local files, data sets on the hub."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astarpo.common.errors import InputError
from astarpo.data.generators import GENERATORS
from astarpo.data.golds import SpelledFloat, gold_of, text_of
from astarpo.data.rows import Problem, SourceRow
from astarpo.data.settings import Columns, DataSource, GeneratedTask, HubData, LocalFile

if TYPE_CHECKING:
    import pyarrow as pa


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
    if isinstance(source, GeneratedTask):
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
