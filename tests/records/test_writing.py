"""Files that are there whole or not at all, and failures that name the file."""

import multiprocessing
import os
import resource
import signal
from contextlib import contextmanager

import pytest
from PIL import Image

from vlmalign.records import DataError, DatasetBuild
from vlmalign.records.writing import link, put, replacing, replacing_folder, write_atomic


@contextmanager
def small_disk(size=1000):
    """No file may grow beyond so many bytes: the nearest to a full disk that needs no disk.

    Only around the write in question: the limit holds for the whole process, the test runner's output included.
    """
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("write", [put, write_atomic])
def test_a_full_disk_names_the_file_and_leaves_no_partial_one(tmp_path, write):
    (tmp_path / "a.bin").write_bytes(b"old")
    with small_disk(), pytest.raises(OSError, match="File too large: '.*/a.bin'$"):
        write(tmp_path / "a.bin", b"x" * 5000)
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_copy_that_fails_names_its_target_and_leaves_no_partial_one(tmp_path, monkeypatch):
    (tmp_path / "source.bin").write_bytes(b"x" * 5000)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    with small_disk(), pytest.raises(OSError, match="File too large: '.*/images/target.bin'$"):
        link(tmp_path / "source.bin", tmp_path / "images" / "target.bin")
    assert not list((tmp_path / "images").iterdir())


def test_an_image_that_finds_no_space_names_its_file_in_the_folder(tmp_path):
    noise = Image.frombytes("RGB", (32, 32), os.urandom(32 * 32 * 3))
    with small_disk(), pytest.raises(OSError, match=r"File too large: '.*/images/[0-9a-f]{2}/[0-9a-f]{64}\.png'$"):
        with DatasetBuild(tmp_path / "d", "case", {}) as build:
            build.add_image(noise)
    assert not [p for p in (tmp_path / "d" / "images").rglob("*") if p.is_file()]


def test_a_disk_without_room_for_the_first_line_of_a_journal_names_it(tmp_path):
    with small_disk(10), pytest.raises(OSError, match="File too large: '.*/d/journal.jsonl'$"):
        DatasetBuild(tmp_path / "d", "case", {})


def test_whatever_stops_a_writer_the_old_file_stays(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_folder_is_replaced_whole_or_stays_as_it_was(tmp_path):
    out = tmp_path / "out"
    put(out / "a" / "old.txt", b"old")
    put(tmp_path / "out.partial" / "a" / "left by a kill.txt", b"?")
    (tmp_path / "out.partial" / "link").symlink_to(out)
    with pytest.raises(KeyboardInterrupt), replacing_folder(out) as partial:
        assert not list(partial.iterdir())
        put(partial / "new.txt", b"new")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "a", "old.txt"]
    with replacing_folder(out) as partial:
        put(partial / "new.txt", b"new")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new.txt"]


def _fill(out, begun, end):
    with replacing_folder(out) as partial:
        put(partial / "first.txt", b"first")
        begun.set()
        end.wait(60)
        put(partial / "second.txt", b"second")


def test_a_second_process_that_would_fill_the_same_folder_is_refused_and_harms_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    begun, end = context.Event(), context.Event()
    other = context.Process(target=_fill, args=(tmp_path / "out", begun, end))
    other.start()
    try:
        assert begun.wait(60)
        with pytest.raises(DataError, match="another process is writing here"), replacing_folder(tmp_path / "out"):
            pytest.fail("two processes fill one folder")
    finally:
        end.set()
        other.join()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["first.txt", "second.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
