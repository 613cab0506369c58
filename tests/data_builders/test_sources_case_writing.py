"""What all sources that read files share: keys, contained paths, tables, skipping, resuming."""

from __future__ import annotations

import csv
import inspect
import itertools
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from data_builders.sources.contained import contained, files_below
from data_builders.sources.kermany import build_kermany
from data_builders.sources.patient_key import patient_key
from data_builders.sources.registry import BUILT_IN
from data_builders.sources.tables import read_table
from vlmalign.records import Case, DataError, DatasetBuild, read_manifest, read_records
from vlmalign.records.validation import validate_folder

DATA = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "kermany_cxr"
ROWS = ["a/1.png,train,normal,normal,P1", "a/2.png,train,pneumonia,virus,P2", "a/3.png,test,normal,normal,P3"]


def write_kermany(data: Path, rows: list[str] = ROWS) -> Path:
    (data / "a").mkdir(parents=True, exist_ok=True)
    for number in (1, 2, 3):
        Image.new("L", (8, 8), number * 60).save(data / "a" / f"{number}.png")
    (data / "labels.csv").write_text("\n".join(["path,split,label,subtype,patient", *rows]) + "\n")
    return data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_kermany(tmp_path / "data")


def test_children_are_marked_so_that_no_adult_measure_is_read_from_them(data: Path, tmp_path: Path) -> None:
    out = build_kermany(data, tmp_path / "out", split="official")
    cases = read_records(out, Case)
    assert validate_folder(out) == [] and {case.attributes.age_band for case in cases} == {"child"}
    assert [case.split for case in cases] == ["train", "train", "test"]
    second = {finding.concept: finding.value or finding.status for finding in cases[1].reference.findings}
    assert second == {"pneumonia": "present", "no_finding": "absent", "age_group": "child", "projection": "ap"}


def test_the_key_is_made_beside_the_folder_and_gives_the_same_pseudonyms_again(data: Path, tmp_path: Path) -> None:
    build_kermany(data, tmp_path / "out")
    key = tmp_path / "out.key"
    assert key.stat().st_mode & 0o077 == 0 and len(key.read_text().strip()) == 64
    build_kermany(data, tmp_path / "again", key_file=key)
    assert (tmp_path / "out/records.jsonl").read_bytes() == (tmp_path / "again/records.jsonl").read_bytes()
    build_kermany(data, tmp_path / "other")
    first, other = (read_records(tmp_path / name, Case)[0].group_id for name in ("out", "other"))
    assert first != other


def test_patient_ids_and_file_names_are_nowhere_in_the_folder(data: Path, tmp_path: Path) -> None:
    (data / "a/2.png").write_bytes(b"broken")
    out = build_kermany(data, tmp_path / "out", on_bad="skip")
    for file in out.rglob("*"):
        if file.is_file():
            assert b"P2" not in file.read_bytes() and b"a/2.png" not in file.read_bytes()


def test_a_key_inside_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="inside the dataset folder"):
        build_kermany(data, out, key_file=out / "secret.key")
    assert not out.exists()


def test_a_lost_key_is_not_replaced_silently(data: Path, tmp_path: Path) -> None:
    build_kermany(data, tmp_path / "out")
    (tmp_path / "out.key").unlink()
    with pytest.raises(DataError, match="key that is not here any more"):
        build_kermany(data, tmp_path / "out")
    assert not (tmp_path / "out.key").exists()
    build_kermany(data, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out.key").exists()


def test_a_build_that_fails_before_its_first_case_leaves_neither_key_nor_folder(
    data: Path, tmp_path: Path
) -> None:
    for file in data.rglob("*.png"):
        file.write_bytes(b"broken")
    mine = tmp_path / "mine"
    mine.write_text("k" * 32)
    for key in (None, mine):
        with pytest.raises(DataError, match="cannot be decoded"):
            build_kermany(data, tmp_path / "out", key_file=key)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mine"]


def test_a_kill_before_the_first_case_needs_no_key_to_go_on(data: Path, tmp_path: Path, killed) -> None:
    killed(lambda: build_kermany(data, tmp_path / "out"), 1)
    journal = tmp_path / "out/journal.jsonl"
    journal.write_text(journal.read_text().splitlines(keepends=True)[0])
    (tmp_path / "out.key").unlink()
    assert len(read_records(build_kermany(data, tmp_path / "out"), Case)) == 3


@pytest.mark.parametrize(("content", "rule"), [(None, "no such key file"), ("short", "has 5 bytes")])
def test_a_key_file_that_cannot_serve_is_refused(tmp_path: Path, content: str | None, rule: str) -> None:
    if content is not None:
        (tmp_path / "mine").write_text(content)
    with pytest.raises(DataError, match=rule):
        patient_key(tmp_path / "out", tmp_path / "mine")


def test_a_build_that_was_refused_goes_on_by_skipping_and_the_skipped_are_named(
    data: Path, tmp_path: Path
) -> None:
    (data / "a/2.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a/2.png: the image cannot be decoded.*--on-bad skip"):
        build_kermany(data, tmp_path / "out")
    assert len((tmp_path / "out/journal.jsonl").read_text().splitlines()) == 2
    out = build_kermany(data, tmp_path / "out", on_bad="skip")
    assert read_manifest(out).counts["skipped"] == read_manifest(out).counts["skipped_unreadable"] == 1
    (told,) = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    (name,) = [json.loads(line) for line in (tmp_path / "out.key.names.jsonl").read_text().splitlines()]
    assert told["kind"] == "unreadable" and told["file"] == name["name"]
    assert name["file"] == "a/2.png" and "cannot be decoded" in name["reason"]
    with pytest.raises(DataError, match=r"leaving things out \(skipped 1\)"):
        build_kermany(data, out)


def test_a_folder_without_anything_skipped_has_no_list_of_it(data: Path, tmp_path: Path) -> None:
    (data / "a/2.png").write_bytes(b"broken")
    out = build_kermany(data, tmp_path / "out", on_bad="skip")
    write_kermany(data)
    build_kermany(data, out, overwrite=True)
    assert not (out / "skipped.jsonl").exists() and len(read_records(out, Case)) == 3


def test_a_build_that_is_killed_ends_with_the_same_bytes(data: Path, tmp_path: Path, killed, bytes_of) -> None:
    (data / "a/1.png").write_bytes(b"broken")
    key = tmp_path / "key"
    key.write_text("k" * 32)
    whole = build_kermany(data, tmp_path / "whole", on_bad="skip", key_file=key)
    killed(lambda: build_kermany(data, tmp_path / "cut", on_bad="skip", key_file=key), 2)
    build_kermany(data, tmp_path / "cut", on_bad="skip", key_file=key)
    assert bytes_of(whole) == bytes_of(tmp_path / "cut") and "skipped.jsonl" in bytes_of(whole)


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "a/../../x.png", "", "a\\x.png", "C:/x.png", "a\0b"])
def test_no_path_of_a_table_escapes_the_data_folder(data: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leaves the data folder"):
        contained(data, name)


def test_a_row_that_climbs_out_is_named_with_its_line_even_when_skipping(data: Path, tmp_path: Path) -> None:
    write_kermany(data, [ROWS[0], "../2.png,train,normal,normal,P2"])
    with pytest.raises(DataError, match=r"labels.csv:3, field 'path'.*leaves the data folder"):
        build_kermany(data, tmp_path / "out", on_bad="skip")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.key").exists()


def test_links_out_of_the_data_folder_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((data / "a/1.png").read_bytes())
    (data / "a/2.png").unlink()
    (data / "a/2.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="link out of the data folder"):
        build_kermany(data, tmp_path / "out")
    with pytest.raises(DataError, match="link out of the data folder"):
        files_below(data, [".png"])


def test_a_patient_in_two_splits_is_refused_without_telling_the_name(data: Path, tmp_path: Path) -> None:
    write_kermany(data, [ROWS[0], "a/2.png,test,normal,normal,P1"])
    with pytest.raises(DataError, match="1 patient or group stands in two splits") as caught:
        build_kermany(data, tmp_path / "out", split="official")
    assert "P1" not in str(caught.value)
    build_kermany(data, tmp_path / "out", split="none")


def test_pictures_of_more_than_8_bits_are_not_clipped_to_white(data: Path, tmp_path: Path) -> None:
    Image.new("I;16", (8, 8), 3000).save(data / "a/1.png")
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        build_kermany(data, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a,b\n1\n", ":2: the row has 1 cells, the header 2"),
        ("a,a\n1,2\n", "column 'a' is there twice"),
        ("b\n1\n", "column 'a' is missing; there are b"),
        ("", "column 'a' is missing; there are none"),
        (b"a\n\xff\n", "not a csv file in UTF-8"),
    ],
)
def test_a_broken_table_names_its_line(tmp_path: Path, text: str | bytes, rule: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rule):
        list(read_table(path, ["a"]))


def test_pictures_that_changed_are_other_settings(data: Path, tmp_path: Path) -> None:
    build_kermany(data, tmp_path / "out")
    Image.new("L", (99, 8)).save(data / "a/1.png")
    with pytest.raises(DataError, match="other settings .*pictures_sha256"):
        build_kermany(data, tmp_path / "out")


def test_a_builder_may_name_what_it_skipped(tmp_path: Path) -> None:
    with DatasetBuild(tmp_path / "out", "case", {}) as build:
        build.commit("a", [], skipped=[{"file": "x", "reason": "y"}])
    assert (tmp_path / "out/skipped.jsonl").read_text() == '{"file": "x", "reason": "y"}\n'


PHANTOMS = {"smear", "marrow", "oct", "fundus", "cxr"}


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - PHANTOMS - {"bccd"}))
def test_every_source_that_reads_files_takes_the_same_settings_and_documents_them(name: str) -> None:
    build = BUILT_IN[name]
    parameters = inspect.signature(build).parameters
    assert list(parameters)[:2] == ["data", "out"] and {"limit", "on_bad", "overwrite"} <= set(parameters)
    for parameter in parameters:
        assert f"        {parameter}: " in build.__doc__, parameter


@pytest.mark.skipif(not DATA.is_dir(), reason="Kermany's radiographs are absent (VLMALIGN_DATA)")
def test_real_radiographs_of_children_are_grouped_by_patient(tmp_path: Path) -> None:
    cases = read_records(build_kermany(DATA, tmp_path / "out", limit=60), Case)
    with open(DATA / "labels.csv") as lines:
        patients = {row["patient"] for row in itertools.islice(csv.DictReader(lines), 60)}
    assert len(cases) == 60 and len({case.group_id for case in cases}) == len(patients)
