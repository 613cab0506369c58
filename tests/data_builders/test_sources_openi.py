from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from data_builders.sources.openi import build_openi
from data_builders.sources.openi_reports import parse_openi, read_openi
from vlmalign.records import Candidate, Case, DataError, read_manifest, read_records
from vlmalign.records.validation import validate_folder

DATA = (
    Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "openi_reports"
)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="Open-i reports are absent (VLMALIGN_DATA)")


def report(uid: str, *, findings: str = "Heart is normal.", mesh: str = "normal", pictures: tuple[str, ...] = ()):
    images = "".join(f'<parentImage id="{name}"/>' for name in pictures)
    return (
        f'<eCitation><uId id="{uid}"/><AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION"/><MeSH><major>{mesh}</major></MeSH>{images}</eCitation>'
    ).encode()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "png"
    folder.mkdir()
    for number, name in enumerate(("CXR1_1", "CXR1_2", "CXR2_1")):
        Image.new("L", (8, 8), number).save(folder / f"{name}.png")
    return folder


def test_reports_with_their_pictures_become_cases(tmp_path: Path, pictures: Path) -> None:
    tgz = archive(tmp_path / "r.tgz", {
        "r/1.xml": report("CXR1", pictures=("CXR1_1", "CXR1_2")),
        "r/2.xml": report("CXR2", findings="XXXX effusion.", mesh="Pleural Effusion/right", pictures=("CXR2_1",)),
    })  # fmt: skip
    out = build_openi(tgz, tmp_path / "out", images=pictures)
    first, second = read_records(out, Case)
    assert validate_folder(out) == [] and len(first.images) == 2 and first.messages[0].n_images == 2
    assert second.reference.text == "FINDINGS: XXXX effusion."
    assert {f.concept: f.status for f in second.reference.findings} == {
        "pleural_effusion": "present",
        "no_finding": "absent",
    }
    assert read_manifest(out).counts["deidentified_words"] == 1


def test_what_cannot_be_read_is_named_and_the_rest_is_kept(tmp_path: Path, pictures: Path) -> None:
    tgz = archive(tmp_path / "r.tgz", {
        "r/1.xml": report("CXR1", pictures=("CXR1_1",)),
        "r/2.xml": b"<eCitation>\n<uId",
        "r/3.xml": report("CXR3", pictures=("CXR3_1",)),
        "r/4.xml": report("CXR4"),
        "r/5.xml": report("CXR1", pictures=("CXR1_2",)),
    })  # fmt: skip
    with pytest.raises(DataError, match=r"2.xml:2: malformed XML.*--on-bad skip"):
        build_openi(tgz, tmp_path / "out", images=pictures)
    out = build_openi(tgz, tmp_path / "skip", images=pictures, on_bad="skip")
    told = {item["case"]: item for item in map(json.loads, (out / "skipped.jsonl").read_text().splitlines())}
    assert [case.id for case in read_records(out, Case)] == ["openi-CXR1"]
    assert told["openi-2"]["file"].endswith("r/2.xml") and "malformed" in told["openi-2"]["reason"]
    assert "missing" in told["openi-CXR3"]["reason"] and told["openi-CXR4"]["kind"] == "no_picture"
    assert "second report" in told["openi-5"]["reason"] and read_manifest(out).counts["skipped"] == 4


def test_entities_are_refused_before_they_can_grow() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]><eCitation>&c;</eCitation>'
    with pytest.raises(DataError, match="document type"):
        parse_openi(bomb)


@pytest.mark.parametrize("name", ["../../secret", "a/b"])
def test_a_picture_name_cannot_lead_elsewhere(name: str) -> None:
    with pytest.raises(DataError, match="not the name of a picture"):
        parse_openi(report("CXR1", pictures=(name,)))


def test_without_pictures_the_choice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="texts_only=true"):
        build_openi(archive(tmp_path / "r.tgz", {"1.xml": report("CXR1")}), tmp_path / "out")


def test_a_cut_archive_is_an_error(tmp_path: Path) -> None:
    noise = {f"{k}.xml": report(f"CXR{k}", findings=os.urandom(400).hex()) for k in range(40)}
    tgz = archive(tmp_path / "r.tgz", noise)
    tgz.write_bytes(tgz.read_bytes()[:-4000])
    with pytest.raises(DataError, match="the archive cannot be read"):
        list(read_openi(tgz))


@needs_data
def test_every_one_of_the_real_reports_is_read(tmp_path: Path) -> None:
    bad: list[DataError] = []
    reports = list(read_openi(DATA, bad.append))
    assert (len(reports), len(bad)) == (3955, 0)
    assert sum(bool(r.findings) for r in reports) == 3425 and sum(bool(r.impression) for r in reports) == 3921
    assert sum(len(r.pictures) for r in reports) == 7470 and sum(r.deidentified_words for r in reports) == 9986
    out = build_openi(DATA, tmp_path / "out", texts_only=True)
    counts = read_manifest(out).counts
    assert (counts["records"], counts["without_text"]) == (3927, 28)
    assert len((out / "skipped.jsonl").read_text().splitlines()) == 28
    assert read_records(out, Candidate)[0].text.startswith("FINDINGS: The cardiac silhouette")
