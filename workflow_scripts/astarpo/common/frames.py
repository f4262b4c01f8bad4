"""Tables as pandas data frames with the column types of a schema: null and NaN stay distinct, as do 1 and 1.0.

Import this module late, as importing pandas is slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from astarpo.common.files import read_table, write_table, write_text


def frame(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> pd.DataFrame:
    """Make a data frame from rows.

    Args:
        rows: mappings with the schema's names; other keys are ignored.
        schema: columns and types.
    """
    listed = [{name: row[name] for name in schema.names} for row in rows]
    return to_frame(pa.Table.from_pylist(listed, schema=schema))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Turn an Arrow table into a data frame whose columns keep their types."""
    return table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)


def read_frame(path: str | Path, schema: pa.Schema | None = None) -> pd.DataFrame:
    """Read a parquet file; arguments and errors are those of `files.read_table`."""
    return to_frame(read_table(path, schema))


def csv_text(table: pd.DataFrame) -> str:
    """Write a data frame as CSV text: with a header, numbers in full precision, null as an empty field."""
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def write_parquet(
    path: str | Path, table: pd.DataFrame, schema: pa.Schema, metadata: Mapping[str, object] | None = None
) -> None:
    """Write a data frame as parquet; the arguments are those of `files.write_table`."""
    columns = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    write_table(path, columns, schema, dict(metadata or {}))


def write_frame(
    parquet_path: str | Path,
    csv_path: str | Path,
    table: pd.DataFrame,
    schema: pa.Schema,
    metadata: Mapping[str, object],
) -> None:
    """Write a data frame as parquet, for programs, and as CSV, for everything else.

    Args:
        parquet_path, csv_path: the files to write.
        table: with the schema's columns.
        schema: columns and types, in the order of both files.
        metadata: stored in the parquet file.
    """
    write_parquet(parquet_path, table, schema, metadata)
    write_text(csv_path, csv_text(table[schema.names]))
