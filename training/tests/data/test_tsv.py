"""TSV files by row and key, and the offsets that are read or made."""

from __future__ import annotations

from pathlib import Path

import pytest

from distillvlm.data import tsv
from distillvlm.data.tsv import TsvFile

ROWS = "a\tone\tx\r\nbé\ttwo\n000c\tthree\tlast"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "train.feature.tsv"
    path.write_bytes(ROWS.encode())
    return path


def test_rows_are_found_by_number_and_by_key(path: Path) -> None:
    table = TsvFile(path)
    assert [table.columns(row) for row in range(len(table))] == [
        ["a", "one", "x"],
        ["bé", "two"],
        ["000c", "three", "last"],
    ]
    assert table.columns_of("000c") == ["000c", "three", "last"]
    assert list(table.row_of) == ["a", "bé", "000c"]


def test_offsets_are_kept_beside_the_file_as_oscar_writes_them(path: Path) -> None:
    TsvFile(path)
    # Bytes: "a\tone\tx\r\n" is 9, "bé\ttwo\n" is 8, since é takes two.
    assert (path.parent / "train.feature.lineidx").read_text() == "0\n9\n17\n"
    assert sorted(file.name for file in path.parent.iterdir()) == ["train.feature.lineidx", "train.feature.tsv"]


def test_offsets_that_are_there_are_used(path: Path) -> None:
    (path.parent / "train.feature.lineidx").write_text("0\n17\n")
    assert list(TsvFile(path).row_of) == ["a", "000c"]


def test_offsets_go_to_the_cache_where_the_folder_is_read_only(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = tsv.write_text_atomically

    def refuse_beside(target: Path, text: str) -> None:
        if target.parent == path.parent:
            raise PermissionError(13, "Permission denied", str(target))
        write(target, text)

    monkeypatch.setattr(tsv, "write_text_atomically", refuse_beside)
    cache = tmp_path / "cache" / "offsets"
    assert len(TsvFile(path, cache)) == 3
    (index,) = cache.iterdir()
    monkeypatch.setattr(tsv, "_find_offsets", None)  # must not be needed again
    assert len(TsvFile(path, cache)) == 3
    path.write_bytes(b"d\tfour\n")
    index.write_text("0\n")
    monkeypatch.undo()
    assert list(TsvFile(path, cache).row_of) == ["d"]


@pytest.mark.parametrize(
    ("offsets", "why"),
    [("", "empty"), ("0\n9\n", "ends before the last row"), ("0\n9\n18\n", "no start of a row"), ("5\n9\n17\n", "")],
)
def test_offsets_of_another_file_are_refused(path: Path, offsets: str, why: str) -> None:
    (path.parent / "train.feature.lineidx").write_text(offsets)
    with pytest.raises(ValueError, match=r"train\.feature\.lineidx: its offsets are not those of"):
        TsvFile(path)


def test_missing_empty_and_malformed_files_are_named(path: Path) -> None:
    with pytest.raises(ValueError, match=r"Cannot read .*absent\.tsv"):
        TsvFile(path.with_name("absent.tsv"))
    (path.parent / "empty.tsv").touch()
    with pytest.raises(ValueError, match=r"Cannot read .*empty\.tsv"):
        TsvFile(path.with_name("empty.tsv"))
    with pytest.raises(ValueError, match=r"train\.feature\.tsv: no row has the key 'z'"):
        TsvFile(path).columns_of("z")
    (path.parent / "bare.tsv").write_text("a\tone\nno tab\nb\ttwo\n")
    with pytest.raises(ValueError, match=r"bare\.tsv, row 1: expected a key and a tab"):
        TsvFile(path.with_name("bare.tsv")).row_of  # noqa: B018
    (path.parent / "twice.tsv").write_text("a\tone\na\ttwo\n")
    with pytest.raises(ValueError, match=r"twice\.tsv, row 1: key 'a' is in row 0 too"):
        TsvFile(path.with_name("twice.tsv")).row_of  # noqa: B018
    (path.parent / "bytes.tsv").write_bytes(b"a\t\xff\n")
    with pytest.raises(ValueError, match=r"bytes\.tsv, row 0: .*decode"):
        TsvFile(path.with_name("bytes.tsv")).columns(0)
