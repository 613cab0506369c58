"""Dataset folders: atomic, resumable, refusing what does not belong."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from vlmalign.records import Case, DataError, DatasetBuild, ImageRef, RecordFolder, read_records, user
from vlmalign.records import journal as journal_module
from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.journal import JOURNAL

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
    kill(tmp_path / "killed", stop_at=2)
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


@pytest.mark.parametrize("again", [False, True], ids=["first time", "by a build that continues"])
def test_a_damaged_image_is_not_passed_on(tmp_path, again):
    """The remedy names the folder that it comes from, and the repaired one continues."""
    write(tmp_path / "d")
    ref = read_records(tmp_path / "d", Case)[0].images[0]

    def adopt():
        with DatasetBuild(tmp_path / "other", "case", CONFIG) as build:
            build.adopt(ref, tmp_path / "d")
            raise RuntimeError

    if again:
        with pytest.raises(RuntimeError):
            adopt()
    image = tmp_path / "d" / ref.path
    whole = image.read_bytes()
    image.write_bytes(whole[:-9])  # in place: a linked file changes in both folders
    place = tmp_path / ("other" if again else "d") / ref.path
    with pytest.raises(DataError, match=f"{place}, field 'sha256': .*its record says {ref.sha256[:12]}") as error:
        adopt()
    assert f"vlmalign data validate {tmp_path / 'd'}" in error.value.remedy
    image.write_bytes(whole)
    with pytest.raises(RuntimeError):
        adopt()


def test_an_image_is_hashed_once_however_often_it_is_adopted(tmp_path, monkeypatch):
    write(tmp_path / "d")
    ref = read_records(tmp_path / "d", Case)[0].images[0]
    hashed = []
    monkeypatch.setattr("vlmalign.records.placing.sha256_file", lambda path: hashed.append(path) or ref.sha256)
    with DatasetBuild(tmp_path / "other", "case", CONFIG) as build:
        for _ in range(3):
            build.adopt(ref, tmp_path / "d")
    assert len(hashed) == 1


def test_two_folders_with_other_pictures_under_one_name_are_not_mixed_up(tmp_path):
    refs = []
    for name in ("one", "two"):
        (tmp_path / name / "images").mkdir(parents=True)
        data = name.encode()
        (tmp_path / name / "images" / "x.png").write_bytes(data)
        refs.append(ImageRef(path="images/x.png", sha256=sha256_bytes(data)))
    with pytest.raises(DataError, match="images/x.png.*its record says"):
        with DatasetBuild(tmp_path / "other", "case", CONFIG) as build:
            build.adopt(refs[0], tmp_path / "one")
            build.adopt(refs[1], tmp_path / "two")


def test_a_damaged_mask_that_is_named_by_its_hash_is_not_passed_on(tmp_path):
    write(tmp_path / "d")
    path = read_records(tmp_path / "d", Case)[0].images[0].path
    with DatasetBuild(tmp_path / "other", "case", CONFIG) as build:
        assert build.adopt_file(path, tmp_path / "d") == path
    (tmp_path / "d" / path).write_bytes(b"other")
    with pytest.raises(DataError, match="was changed or damaged"):
        with DatasetBuild(tmp_path / "third", "case", CONFIG) as build:
            build.adopt_file(path, tmp_path / "d")


def test_overwriting_keeps_the_old_content_until_the_new_is_complete(tmp_path):
    folder = tmp_path / "d"
    write(folder)
    with pytest.raises(RuntimeError), DatasetBuild(folder, "case", {"n": 1}, overwrite=True) as build:
        build.commit("0", [case(build, 0)])
        raise RuntimeError
    assert len(read_records(folder, Case)) == 4
    with DatasetBuild(folder, "case", {"n": 1}, overwrite=True) as build:
        assert build.has("0")
    assert [c.id for c in read_records(folder, Case)] == ["c0"]
    assert len(list((folder / "images").rglob("*.png"))) == 1


@pytest.mark.parametrize("old", [CONFIG, {"n": 9}], ids=["the same settings", "other settings"])
def test_a_killed_overwriting_build_continues_and_a_complete_folder_is_begun_anew(tmp_path, old):
    write(tmp_path / "whole")
    folder = tmp_path / "d"
    with DatasetBuild(folder, "case", old) as build:
        build.commit("old", [case(build, 7)])
    kill(folder, stop_at=2, overwrite=True)
    assert [c.id for c in read_records(folder, Case)] == ["c7"]
    with pytest.raises(RuntimeError), DatasetBuild(folder, "case", CONFIG, overwrite=True) as build:
        assert build.has("1") and not build.has("2")
        raise RuntimeError
    write(folder, overwrite=True)
    assert contents(folder) == contents(tmp_path / "whole")
    with pytest.raises(RuntimeError), DatasetBuild(folder, "case", CONFIG, overwrite=True) as build:
        assert not build.has("0")
        raise RuntimeError


def test_overwriting_continues_a_killed_first_build_of_the_same_settings_and_discards_another(tmp_path):
    kill(tmp_path / "d", stop_at=2)
    with pytest.raises(RuntimeError), DatasetBuild(tmp_path / "d", "case", CONFIG, overwrite=True) as build:
        assert build.has("1")
        raise RuntimeError
    with DatasetBuild(tmp_path / "d", "case", {"n": 5}, overwrite=True) as build:
        assert not build.has("1")


def test_a_folder_that_is_complete_is_begun_anew_though_its_journal_was_left_behind(tmp_path):
    """A kill between the manifest and the last clean-up, then the same command with --overwrite."""
    write(tmp_path / "d")
    header = {"kind": "case", "config_sha256": RecordFolder(tmp_path / "d", Case).manifest.config_sha256}
    (tmp_path / "d" / JOURNAL).write_text(json.dumps(header, sort_keys=True) + "\n")
    with open(tmp_path / "d" / JOURNAL, "a") as journal:
        journal.write(json.dumps({"unit": "0", "ids": [], "counts": {}, "lines": []}) + "\n")
    with pytest.raises(RuntimeError), DatasetBuild(tmp_path / "d", "case", CONFIG, overwrite=True) as build:
        assert not build.has("0")
        raise RuntimeError


# -- one process at a time ----------------------------------------------------------------------------


def in_another_process(function, *arguments, **options):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


def kill(folder, **options):
    assert in_another_process(write, folder, **options) == -signal.SIGKILL


def be_refused(folder, overwrite):
    with pytest.raises(DataError, match="d: another process is writing here.*choose another --out"):
        DatasetBuild(folder, "case", CONFIG, overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_process_on_one_folder_is_refused_and_the_first_goes_on(tmp_path, overwrite):
    write(tmp_path / "whole")
    with DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
        for i in range(4):
            build.commit(str(i), [case(build, i)], {"looked_at": 1})
            assert in_another_process(be_refused, tmp_path / "d", overwrite) == 0
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


def test_a_reader_of_a_folder_that_is_being_overwritten_leaves_the_new_journal_alone(tmp_path):
    write(tmp_path / "d")
    with DatasetBuild(tmp_path / "d", "case", CONFIG, overwrite=True) as build:
        assert in_another_process(write, tmp_path / "d") == 0
        assert (tmp_path / "d" / JOURNAL).exists()
        for i in range(4):
            build.commit(str(i), [case(build, i)], {"looked_at": 1})
    assert not (tmp_path / "d" / JOURNAL).exists()


def test_a_build_that_waited_for_nothing_finds_the_folder_complete(tmp_path, monkeypatch):
    """Another process completes the folder between the look at it and the lock."""
    real = journal_module.open_locked

    def late(path):
        monkeypatch.setattr("vlmalign.records.build.open_locked", real)
        write(tmp_path / "d")
        return real(path)

    monkeypatch.setattr("vlmalign.records.build.open_locked", late)
    with DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
        assert build.finished
    assert not (tmp_path / "d" / JOURNAL).exists()
    assert len(read_records(tmp_path / "d", Case)) == 4


def test_a_journal_with_units_that_the_build_does_not_know_makes_no_complete_folder(tmp_path):
    """On a file system without locks."""
    with pytest.raises(DataError, match="holds 2 units with 2 records, this build knows of 1 with 1"):
        with DatasetBuild(tmp_path / "d", "case", CONFIG) as build:
            build.commit("0", [case(build, 0)])
            with open(tmp_path / "d" / JOURNAL, "a") as journal:
                other = case(build, 1)
                entry = {"unit": "1", "ids": [other.id], "counts": {}, "lines": [other.to_line()]}
                journal.write(json.dumps(entry) + "\n")
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["images", JOURNAL]


@pytest.mark.parametrize(
    ("damage", "rule"),
    [(lambda lines: [*lines, lines[1]], "4: unit '0' stands here a second time"),
     (lambda lines: [lines[0], lines[1][:30], lines[2]], "2: the line is damaged")],
)  # fmt: skip
def test_a_damaged_journal_is_named_with_line_and_remedy(tmp_path, damage, rule):
    kill(tmp_path / "d", stop_at=2)
    journal = tmp_path / "d" / JOURNAL
    journal.write_text("".join(line + "\n" for line in damage(journal.read_text().splitlines())))
    with pytest.raises(DataError, match=f"journal.jsonl:{rule}.*Delete this file"):
        DatasetBuild(tmp_path / "d", "case", CONFIG)


def test_a_refusal_is_short_however_long_the_settings_are(tmp_path):
    """A builder may list thousands of names."""
    old = {**{f"k{i}": list(range(5000)) for i in range(9)}, "same": 1}
    with DatasetBuild(tmp_path / "d", "case", old) as build:
        build.commit("none", [])
    with pytest.raises(DataError, match=r"k0: \[0, 1.* \.\.\. there, None here.*and 5 more") as error:
        DatasetBuild(tmp_path / "d", "case", {"same": 1})
    assert len(str(error.value)) < 700 and "k4" not in str(error.value)


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
