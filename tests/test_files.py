"""Files: atomic writes, errors that name the file, hashes of content."""

import contextlib
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
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


def test_no_flipped_bit_of_a_table_goes_unnoticed(tmp_path):
    """One flip in each byte of a file: the table is refused, or is what was written, metadata included.

    The one accepted flip may be in the name of the hash, without which nothing is compared.
    """
    random = Random(0)
    schema = pa.schema(
        [("id", pa.string()), ("n", pa.int32()), ("score", pa.float64()), ("tokens", pa.list_(pa.int32()))]
    )
    rows = [
        {"id": f"p{i}", "n": i, "score": random.choice([0.0, 1.5, None]), "tokens": random.sample(range(99), 3)}
        for i in range(60)
    ]
    path = tmp_path / "t"
    facts = {"provenance": {"settings": '{"lr": 1}', "inputs": {"a": "0f"}}}
    files.write_table(path, rows, schema, facts)
    assert files.read_table(path, schema).to_pylist() == rows and files.table_metadata(path) == facts
    written = path.read_bytes()
    accepted = 0
    for place in range(len(written)):
        flipped = bytearray(written)
        flipped[place] ^= 1 << random.randrange(8)
        path.write_bytes(flipped)
        with contextlib.suppress(InputError):
            table, metadata = files.read_table(path, schema), files.table_metadata(path)
            assert table.to_pylist() == rows, place
            # Where the list of the metadata is damaged there is none, which whoever compares provenance refuses.
            assert metadata.get("provenance") in (None, facts["provenance"]), place
            accepted += 1
    assert accepted <= len("content_sha256") + len("footer_sha256")


def test_the_header_of_a_page_is_part_of_the_content(tmp_path):
    """Checksums of pages leave it out: such a flip gave other rows."""
    path = tmp_path / "t"
    files.write_table(path, [{"name": "a", "count": 1}] * 50, SCHEMA)
    data = bytearray(path.read_bytes())
    data[6] ^= 1  # in the first header, after the four magic bytes
    path.write_bytes(data)
    with pytest.raises(InputError, match="t: damaged, its content is not what was written; .* delete it"):
        files.read_table(path, SCHEMA)


def test_a_table_that_lost_rows_is_refused(tmp_path):
    """Checksums of pages say nothing of a group of rows whose number of rows is another."""
    for count in (2, 3):
        files.write_table(tmp_path / str(count), [{"name": "a", "count": 1}] * count, SCHEMA)
    metadata = pq.read_schema(tmp_path / "3").metadata
    shorter = pq.read_table(tmp_path / "2").replace_schema_metadata(metadata)
    pq.write_table(shorter, tmp_path / "3")
    for read in (lambda path: files.read_table(path, SCHEMA), files.table_metadata):
        with pytest.raises(InputError, match="3: damaged, .* delete it"):
            read(tmp_path / "3")
    # As a user's data, read without a schema, it is what they made of it.
    assert files.read_table(tmp_path / "3").num_rows == 2


def test_a_table_of_another_program_has_no_footer_hash(tmp_path):
    table = pa.table({"name": ["a"]}).replace_schema_metadata({"who": '"pandas"'})
    pq.write_table(table, tmp_path / "t")
    assert files.read_table(tmp_path / "t").to_pylist() == [{"name": "a"}]
    assert files.table_metadata(tmp_path / "t") == {"who": "pandas"}


def test_the_hash_of_a_folder_sees_names_and_content_but_not_times(tmp_path):
    def folder(name, content):
        for file, text in content.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return files.sha256(tmp_path / name)

    first = folder("a", {"x": "1", "sub/y": "2"})
    assert first == folder("b", {"sub/y": "2", "x": "1", ".snakemake_timestamp": "now"})
    assert len({first, folder("c", {"x": "1", "sub/z": "2"}), folder("d", {"x": "2", "sub/y": "2"})}) == 3
