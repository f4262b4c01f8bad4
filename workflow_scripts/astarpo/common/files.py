"""Reading and writing tables and JSON, with errors that name the file and atomic writes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from astarpo.common.errors import InputError


def read_table(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a parquet file.

    Args:
        path: the file.
        schema: the required columns with their types; others are left out. None reads all.

    Returns:
        The table, with its metadata.

    Raises:
        InputError: the file is missing, is not a parquet file, or lacks a column.
    """
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable parquet file ({error})") from error
    if schema is None:
        return table
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; it has {', '.join(table.column_names)}")
    try:
        return table.select(schema.names).cast(schema.with_metadata(table.schema.metadata))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{path}: a column does not have the expected type ({error})") from error


def write_table(
    path: str | Path,
    rows: Iterable[Mapping[str, object]] | pa.Table,
    schema: pa.Schema,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Write a parquet file under a temporary name and rename it, so that readers never see a partial file.

    Args:
        path: the file to write; missing folders are created.
        rows: dictionaries with the schema's keys, or a table.
        schema: columns and types, in the order of the file.
        metadata: JSON values stored in the file, to be read by `table_metadata`.
    """
    import pyarrow.parquet as pq

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    encoded = {key: json.dumps(value, sort_keys=True) for key, value in (metadata or {}).items()}
    table = table.select(schema.names).cast(schema).replace_schema_metadata(encoded)
    partial = _partial(path)
    pq.write_table(table, partial)
    os.replace(partial, path)


def table_metadata(path: str | Path) -> dict[str, Any]:
    """Read the JSON metadata that `write_table` stored in a parquet file.

    Raises:
        InputError: the file is missing or is not a parquet file.
    """
    import pyarrow.parquet as pq

    try:
        raw = pq.read_schema(path).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable parquet file ({error})") from error
    entries = {key.decode(): value for key, value in raw.items() if not key.startswith(b"ARROW:")}
    return {key: json.loads(value) for key, value in entries.items() if key != "pandas"}


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON file atomically, indented and with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    partial = _partial(path)
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def sha256(path: str | Path) -> str:
    """Hash a file, or a folder by the names and hashes of its files.

    Returns:
        64 hexadecimal digits.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            if file.name != ".snakemake_timestamp":
                digest.update(f"{file.relative_to(path)}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _partial(path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.partial")
