"""Writing a table twice: parquet for programs, CSV for everything else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from astarpo.common.files import write_table, write_text
from astarpo.tables.text import TextTable

Row = Mapping[str, Any]


def csv_text(rows: Iterable[Row], columns: Sequence[str]) -> str:
    """Spell rows as CSV: a header, numbers in full, null as nothing.

    Args:
        rows: dictionaries that have the columns.
        columns: in the order of the file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in rows)
    return text.getvalue()


def plain_csv(table: TextTable) -> str:
    """Spell a table of texts as CSV, without its marks; in the head a blank for each line break."""
    head = [cell.replace("<br>", " ") for cell in table.head]
    lines = [[re.sub("</?[bu]>", "", cell) for cell in line] for line in table.body]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *lines])
    return text.getvalue()


def write_both(
    parquet_path: str | Path,
    csv_path: str | Path,
    rows: Sequence[dict[str, Any]],
    schema: pa.Schema,
    metadata: dict[str, Any],
) -> None:
    """Write a table as parquet and as CSV.

    Args:
        parquet_path, csv_path: the files to make.
        rows: dictionaries with the schema's keys.
        schema: columns and types.
        metadata: kept in the parquet file.
    """
    write_table(parquet_path, rows, schema, metadata)
    write_text(csv_path, csv_text(rows, schema.names))
