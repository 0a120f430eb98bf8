import os
from pathlib import Path

import pytest

from multiseg.base import files
from multiseg.base.files import atomic_folder, remove_leftovers
from multiseg.base.fingerprints import file_fingerprint, fingerprint
from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with atomic_path(path) as part:
        part.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    assert part.suffix == ".txt"  # nibabel and others look at the ending


def test_a_folder_appears_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    for text in ("first", "second"):
        with atomic_folder(folder) as part:
            (part / "x").write_text(text)
    assert (folder / "x").read_text() == "first" and list(tmp_path.iterdir()) == [folder]


def test_leftovers_of_killed_processes_are_removed_when_old(tmp_path: Path) -> None:
    for name in (".part-old", ".part-new", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept" / ".part-old.csv").write_text("x")
    for old in (tmp_path / ".part-old", tmp_path / "kept" / ".part-old.csv"):
        os.utime(old, (1, 1))
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".part-new", "kept"]


def test_fingerprints(tmp_path: Path) -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})
    (tmp_path / "x").write_text("abc")
    # sha256 of "abc" (FIPS 180-2, appendix B.1)
    assert file_fingerprint(tmp_path / "x") == "ba7816bf8f01"


def test_tables_are_read_as_texts_with_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b'\xef\xbb\xbfcase, dice\r\n\r\n007,\r\n,\r\n"a\nb", 1\r\nNA,inf\r\n')
    table = files.read_table(path)
    assert list(table.columns) == ["case", "dice"]
    assert table["case"].to_dict() == {3: "007", 6: "a\nb", 7: "NA"} and list(table["dice"]) == ["", "1", "inf"]


def test_a_table_may_be_empty_but_not_ragged(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("")
    assert files.read_table(path).shape == (0, 0)
    path.write_text("case,dice\n")
    assert list(files.read_table(path).columns) == ["case", "dice"] and len(files.read_table(path)) == 0
    path.write_text("case,dice\n1,2\n1,2,3\n")
    with pytest.raises(UserError, match="table.csv: line 3: 3 cells, but the header has 2"):
        files.read_table(path)


def test_a_folder_that_cannot_be_renamed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any error was taken for another process that had been faster, and finished work was deleted without a word."""

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"), atomic_folder(tmp_path / "a") as part:
        (part / "x").write_text("x")
    (tmp_path / "a").mkdir()  # another process was faster
    with atomic_folder(tmp_path / "a") as part:
        (part / "x").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_files_follow_the_umask_and_leave_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The umask belongs to the whole process: it was 0 for a moment, for the files of all threads."""
    usual = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("umask was changed"))
        with atomic_path(tmp_path / "x.csv") as part:
            part.write_text("x")
        assert (tmp_path / "x.csv").stat().st_mode & 0o777 == 0o640
    finally:
        monkeypatch.undo()
        os.umask(usual)
