import os

import pytest

from vlmalign.records.sized_folder import SizedFolder


def put(folder, name, size, age=0):
    with folder.writing(name) as partial:
        partial.write_bytes(b"x" * size)
    path = folder.path / name
    if age and path.exists():
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))


def names(folder):
    return sorted(path.stem for path in folder.path.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path):
    return SizedFolder(tmp_path / "cache", max_bytes=100)


def test_files_used_longest_ago_make_room(folder):
    for age, name in ((30, "a"), (20, "b"), (10, "c")):
        put(folder, f"m/{name}.safetensors", 30, age)
    assert folder.use("m/a.safetensors") is not None
    put(folder, "m/d.safetensors", 30)
    assert names(folder) == ["a", "c", "d"] and folder.use("m/b.safetensors") is None
    assert folder.stats().bytes == 90


def test_what_another_process_wrote_counts_too(folder):
    other = SizedFolder(folder.path, max_bytes=100)
    put(folder, "m/a.safetensors", 60, age=5)
    put(other, "m/b.safetensors", 60)
    assert names(folder) == ["b"]


def test_a_file_that_could_not_be_written_leaves_nothing(folder):
    with pytest.raises(OSError, match="disk"):
        with folder.writing("m/a.safetensors") as partial:
            partial.write_bytes(b"half")
            raise OSError("disk")
    assert names(folder) == []


def test_clearing_counts_what_it_deletes_and_leaves_foreign_files_alone(folder):
    put(folder, "m/a.safetensors", 10)
    put(folder, "n/b.safetensors", 20)
    (folder.path / "mine.txt").write_text("mine")
    (folder.path / "n" / "notes.txt").write_text("mine")
    assert folder.stats().by_group == {"m": (1, 10), "n": (1, 20)}
    assert folder.clear().files == 2
    assert names(folder) == ["mine", "notes"] and not (folder.path / "m").exists()


def test_a_bound_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_bytes is 0"):
        SizedFolder(tmp_path, 0)
