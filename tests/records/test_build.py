"""Dataset folders: atomic, resumable, refusing what does not belong."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from vlmalign.records import Case, DataError, DatasetBuild, RecordFolder, read_records, user
from vlmalign.records.build import JOURNAL

CONFIG = {"source": "test", "n": 4}


def case(build: DatasetBuild, i: int) -> Case:
    ref = build.add_image(Image.new("RGB", (8, 8), (i, 2 * i, 255)))
    return Case(
        id=f"c{i}", images=(ref,), messages=(user("Describe.", images=1),),
        domain="d", group_id=f"g{i // 2}", group_kind="slide",
    )  # fmt: skip


def write(folder: Path, n: int = 4, stop_at: int | None = None, **kwargs) -> None:
    with DatasetBuild(folder, "case", CONFIG, **kwargs) as build:
        for i in range(n):
            if build.has(str(i)):
                continue
            if i == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)
            build.commit(str(i), [case(build, i)], {"looked_at": 1})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_build_that_is_killed_and_started_again_ends_with_the_same_bytes(tmp_path):
    write(tmp_path / "whole")
    process = multiprocessing.get_context("fork").Process(
        target=write, args=(tmp_path / "killed",), kwargs={"stop_at": 2}
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "manifest.json").exists()
    write(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_journal_line_cut_by_a_full_disk_is_written_again(tmp_path):
    write(tmp_path / "whole")
    folder = tmp_path / "cut"
    with pytest.raises(RuntimeError), DatasetBuild(folder, "case", CONFIG) as build:
        build.commit("0", [case(build, 0)], {"looked_at": 1})
        raise RuntimeError
    with open(folder / JOURNAL, "a") as journal:
        journal.write('{"unit": "1", "ids": ["c1"], "li')
    write(folder)
    assert contents(folder) == contents(tmp_path / "whole")


def test_an_unfinished_build_is_not_readable_and_says_what_to_do(tmp_path):
    with pytest.raises(RuntimeError), DatasetBuild(tmp_path / "d", "case", CONFIG):
        raise RuntimeError
    with pytest.raises(DataError, match="manifest.json is missing.*continues where it stopped"):
        read_records(tmp_path / "d", Case)


def test_the_same_command_again_changes_nothing(tmp_path):
    write(tmp_path / "d")
    before = contents(tmp_path / "d")
    write(tmp_path / "d")
    assert contents(tmp_path / "d") == before


def test_another_configuration_is_refused_and_names_the_difference(tmp_path):
    write(tmp_path / "d")
    with pytest.raises(DataError, match="n: 4 there, 5 here.*--overwrite"):
        DatasetBuild(tmp_path / "d", "case", {**CONFIG, "n": 5})


def test_another_configuration_is_refused_for_an_unfinished_build_too(tmp_path):
    with pytest.raises(RuntimeError), DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
        build.commit("0", [case(build, 0)])
        raise RuntimeError
    with pytest.raises(DataError, match="unfinished build with other settings"):
        DatasetBuild(tmp_path / "d", "case", {"n": 5})


def test_a_build_that_wrote_nothing_does_not_block_other_settings(tmp_path):
    """A model that could not be loaded, say: the corrected command needs no --overwrite."""
    with pytest.raises(RuntimeError), DatasetBuild(tmp_path / "d", "finding", {"n": 5}):
        raise RuntimeError
    write(tmp_path / "d")
    write(tmp_path / "whole")
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


def test_a_kill_between_the_manifest_and_the_last_clean_up_leaves_no_journal(tmp_path):
    write(tmp_path / "d")
    header = {"kind": "case", "config_sha256": RecordFolder(tmp_path / "d", Case).manifest.config_sha256}
    (tmp_path / "d" / JOURNAL).write_text(json.dumps(header, sort_keys=True) + "\n")
    write(tmp_path / "d")
    assert not (tmp_path / "d" / JOURNAL).exists()


def test_a_text_with_unusual_line_breaks_survives_a_continued_build(tmp_path):
    """A model may say anything: U+2028, U+0085 and form feeds are line breaks to some readers."""
    text = "one\u2028two\u0085three\x0cfour"

    def build_all(folder, fail):
        with DatasetBuild(folder, "case", CONFIG) as build:
            for i in range(2):
                if not build.has(str(i)):
                    record = case(build, i).model_copy(update={"extra": {"text": text}})
                    build.commit(str(i), [record])
                if fail:
                    raise RuntimeError

    with pytest.raises(RuntimeError):
        build_all(tmp_path / "d", fail=True)
    build_all(tmp_path / "d", fail=False)
    assert [c.extra["text"] for c in read_records(tmp_path / "d", Case)] == [text, text]


def test_a_full_disk_names_the_file_and_the_build_continues_with_the_same_bytes(tmp_path):
    write(tmp_path / "whole")
    with pytest.raises(OSError, match=f"No space left on device.*{JOURNAL}"):
        with DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
            build.commit("0", [case(build, 0)], {"looked_at": 1})
            build._journal = FullDisk(build._journal)
            build.commit("1", [case(build, 1)], {"looked_at": 1})
    write(tmp_path / "d")
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


class FullDisk:
    """A file on a disk that takes forty more characters."""

    def __init__(self, file):
        self.file = file

    def write(self, text):
        self.file.write(text[:40])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self):
        self.file.flush()

    def close(self):
        self.file.close()


def test_adopting_a_missing_file_names_it_and_how_to_find_its_record(tmp_path):
    write(tmp_path / "d")
    ref = read_records(tmp_path / "d", Case)[0].images[0]
    (tmp_path / "d" / ref.path).unlink()
    with pytest.raises(DataError, match="the file is missing.*vlmalign data validate"):
        with DatasetBuild(tmp_path / "other", "case", CONFIG) as build:
            build.adopt(ref, tmp_path / "d")


def test_overwriting_keeps_the_old_content_until_the_new_is_complete(tmp_path):
    folder = tmp_path / "d"
    write(folder)
    with pytest.raises(RuntimeError), DatasetBuild(folder, "case", {"n": 1}, overwrite=True) as build:
        build.commit("0", [case(build, 0)])
        raise RuntimeError
    assert len(read_records(folder, Case)) == 4
    with DatasetBuild(folder, "case", {"n": 1}, overwrite=True) as build:
        build.commit("0", [case(build, 0)])
    assert [c.id for c in read_records(folder, Case)] == ["c0"]
    assert len(list((folder / "images").rglob("*.png"))) == 1


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(DataError, match="not a dataset folder"):
        DatasetBuild(tmp_path, "case", CONFIG, overwrite=True)


def test_a_duplicate_id_is_refused(tmp_path):
    with (
        pytest.raises(DataError, match="duplicate id 'c1'"),
        DatasetBuild(tmp_path / "d", "case", CONFIG) as build,
    ):
        build.commit("a", [case(build, 1)])
        build.commit("b", [case(build, 1)])


def test_counts_of_what_was_left_out_are_summed_in_the_manifest(tmp_path):
    write(tmp_path / "d")
    assert RecordFolder(tmp_path / "d", Case).manifest.counts == {"records": 4, "images": 4, "looked_at": 4}


def test_an_equal_image_is_stored_once(tmp_path):
    with DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
        first, second = (build.add_image(Image.new("L", (4, 4))) for _ in range(2))
        assert first == second
        assert len(list((tmp_path / "d" / "images").rglob("*.png"))) == 1


def test_records_are_canonical_lines(tmp_path):
    write(tmp_path / "d", n=1)
    line = (tmp_path / "d" / "records.jsonl").read_text().strip()
    assert line == json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"))


def test_a_truncated_image_is_refused_before_it_is_stored(tmp_path):
    Image.new("RGB", (64, 64), (9, 80, 3)).save(tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 2])
    with DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
        with pytest.raises(DataError, match="x.jpg: the image cannot be decoded"):
            build.add_image(tmp_path / "x.jpg")
        build.commit("none", [])
    assert not (tmp_path / "d" / "images").exists()
