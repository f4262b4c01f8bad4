"""Reading and writing tables and JSON, with errors that name the file and atomic writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from astarpo.common.errors import InputError, shortened
from astarpo.common.writing import new_file

FOOTER_SHA256 = "footer_sha256"
CONTENT_SHA256 = "content_sha256"  # of the whole file, with 64 zeros in place of this hash
UNKNOWN_SHA256 = "0" * 64
AGAIN = "; if the workflow made it, delete it, and the stage that made it runs again"


def read_table(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a parquet file.

    Args:
        path: the file.
        schema: the required columns with their types; others are not read. None reads all.

    Returns:
        The table, with its metadata.

    Raises:
        InputError: the file is missing, damaged or not a parquet file, or lacks a column.
    """
    import pyarrow.parquet as pq

    try:
        if schema is not None:
            _check_content(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if schema is None:  # a file of the user's, who may have cut one of ours and kept our metadata
                return file.read()
            _check_footer(path, file.schema_arrow, file.metadata.num_rows)
            missing = [name for name in schema.names if name not in file.schema_arrow.names]
            if missing:
                known = ", ".join(file.schema_arrow.names)
                raise InputError(f"{path}: column {missing[0]!r} is missing; it has {known}")
            table = file.read(columns=schema.names)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable parquet file ({error}){AGAIN}") from error
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

    The metadata have a hash of the whole file, which `read_table` with a schema checks, and one of the column names,
    the number of rows and everything else there, which `table_metadata` checks, as it reads no more.

    Args:
        path: the file to write; missing folders are created.
        rows: dictionaries with the schema's keys, or a table.
        schema: columns and types, in the order of the file.
        metadata: JSON values stored in the file, to be read by `table_metadata`.

    Raises:
        InputError: the disk is full or the folder is not writable; what was there before stays.
    """
    import pyarrow.parquet as pq

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    encoded = {key: json.dumps(value, sort_keys=True) for key, value in (metadata or {}).items()}
    table = table.select(schema.names).cast(schema).replace_schema_metadata(encoded)
    table = table.replace_schema_metadata(
        {**encoded, FOOTER_SHA256: json.dumps(_footer_sha256(table.schema, table.num_rows))}
    )
    with new_file(path) as partial:
        with pq.ParquetWriter(partial, table.schema, write_page_checksum=True) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({CONTENT_SHA256: UNKNOWN_SHA256})
        _insert_content_sha256(partial)


def _insert_content_sha256(path: Path) -> None:
    """Replace the zeros in the metadata of a parquet file by the hash of the file."""
    digest = sha256(path)
    with path.open("r+b") as file:
        file.seek(_place_of_digest(file, UNKNOWN_SHA256))
        file.write(digest.encode())


def _check_content(path: str | Path) -> None:
    """Compare a file with the hash that was kept of it; files of other programs have none.

    Page checksums leave out the headers of pages: one flipped bit there gave other rows.
    """
    import pyarrow.parquet as pq

    kept = (pq.read_metadata(path).metadata or {}).get(CONTENT_SHA256.encode(), b"").decode("latin-1")
    if not kept:
        return
    with Path(path).open("rb") as file:
        try:
            place = _place_of_digest(file, kept)
        except ValueError:
            place = 0
        file.seek(0)
        whole = hashlib.sha256(file.read(place))
        file.seek(place + len(kept))
        whole.update(UNKNOWN_SHA256.encode())
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    if whole.hexdigest() != kept:
        raise InputError(f"{path}: damaged, its content is not what was written{AGAIN}")


def _place_of_digest(file: BinaryIO, digest: str) -> int:
    """Find the hash in the footer, whose length stands before the last four bytes.

    Raises:
        ValueError: it is not there exactly once.
    """
    end = file.seek(-8, 2)
    start = max(end - int.from_bytes(file.read(4), "little"), 0)
    file.seek(start)
    footer = file.read(end - start)
    if footer.count(digest.encode("latin-1")) != 1:
        raise ValueError(f"the footer must hold {digest} once")
    return start + footer.index(digest.encode("latin-1"))


def table_metadata(path: str | Path) -> dict[str, Any]:
    """Read the JSON metadata that `write_table` stored in a parquet file.

    Raises:
        InputError: the file is missing, damaged or not a parquet file.
    """
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path)
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable parquet file ({error}){AGAIN}") from error
    _check_footer(path, schema, footer.num_rows)
    return {key: json.loads(value) for key, value in _metadata(schema).items() if key != "pandas"}


def _check_footer(path: str | Path, schema: pa.Schema, rows: int) -> None:
    """Compare the names, the metadata and the number of rows that were read with the hash that was kept of them."""
    kept = (schema.metadata or {}).get(FOOTER_SHA256.encode())
    try:
        sha256_of_read = _footer_sha256(schema, rows)
        intact = kept is None or json.loads(kept) == sha256_of_read
    except ValueError:  # not UTF-8, or not JSON
        intact = False
    if not intact:
        raise InputError(f"{path}: damaged, its columns or metadata are not those that were written{AGAIN}")


def _footer_sha256(schema: pa.Schema, rows: int) -> str:
    # Not the types, as reading a list gives its items another name.
    return hashlib.sha256(json.dumps([schema.names, rows, _metadata(schema)], sort_keys=True).encode()).hexdigest()


def _metadata(schema: pa.Schema) -> dict[str, str]:
    """The metadata of a schema without what Arrow and the check of it keep there."""
    texts = {key.decode(): text.decode() for key, text in (schema.metadata or {}).items()}
    return {
        key: text
        for key, text in texts.items()
        if not key.startswith("ARROW:") and key not in (FOOTER_SHA256, CONTENT_SHA256)
    }


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from error
    except (ValueError, RecursionError, OSError) as error:  # numbers that are too long are a ValueError
        raise InputError(f"{path}: not a readable JSON file ({error}){AGAIN}") from error


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        InputError: the file is missing, is not valid JSON or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: must hold a JSON object, but holds {shortened(value)}{AGAIN}")
    return value


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON file atomically, indented and with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        InputError: the disk is full or the folder is not writable; what was there before stays.
    """
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


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
