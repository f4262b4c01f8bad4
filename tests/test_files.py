"""Files: atomic writes, errors that name the file, hashes of content."""

import pyarrow as pa
import pytest

from astarpo.common import files
from astarpo.common.errors import InputError

SCHEMA = pa.schema([("name", pa.string()), ("count", pa.int64())])


def test_a_table_comes_back_with_its_metadata(tmp_path):
    path = tmp_path / "new" / "t.parquet"
    files.write_table(path, [{"name": "a", "count": 1}], SCHEMA, {"facts": {"x": [1]}})
    assert files.read_table(path, SCHEMA).to_pylist() == [{"name": "a", "count": 1}]
    assert files.table_metadata(path) == {"facts": {"x": [1]}}
    assert [p.name for p in path.parent.iterdir()] == ["t.parquet"]


def test_equal_tables_are_equal_files(tmp_path):
    for name in ("a", "b"):
        files.write_table(tmp_path / name, [{"name": "a", "count": 1}], SCHEMA, {"k": 1})
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "b")


def test_what_is_wrong_with_a_table_is_said(tmp_path):
    files.write_table(tmp_path / "t", [{"name": "a", "count": 1}], SCHEMA)
    (tmp_path / "bad").write_text("nonsense")
    with pytest.raises(InputError, match="column 'size' is missing; it has name, count"):
        files.read_table(tmp_path / "t", pa.schema([("size", pa.int64())]))
    with pytest.raises(InputError, match="does not have the expected type"):
        files.read_table(tmp_path / "t", pa.schema([("name", pa.int64())]))
    with pytest.raises(InputError, match="no such file; run the stage"):
        files.read_table(tmp_path / "absent")
    with pytest.raises(InputError, match="bad: not a readable parquet file"):
        files.read_table(tmp_path / "bad")
    with pytest.raises(InputError, match="bad: not a readable JSON file"):
        files.read_json(tmp_path / "bad")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "t"
    files.write_table(path, [{"name": "a", "count": 1}], SCHEMA)
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        files.write_table(path, [{"name": "a", "count": "many"}], SCHEMA)
    assert files.read_table(path).num_rows == 1


def test_the_hash_of_a_folder_sees_names_and_content_but_not_times(tmp_path):
    def folder(name, content):
        for file, text in content.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return files.sha256(tmp_path / name)

    first = folder("a", {"x": "1", "sub/y": "2"})
    assert first == folder("b", {"sub/y": "2", "x": "1", ".snakemake_timestamp": "now"})
    assert len({first, folder("c", {"x": "1", "sub/z": "2"}), folder("d", {"x": "2", "sub/y": "2"})}) == 3
