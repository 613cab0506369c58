from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from data_builders.sources import build_bccd
from data_builders.sources.voc import read_voc
from vlmalign.records import DataError, read_manifest

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def write_photograph(
    data: Path, stem: str, *objects: str, size: tuple[int, int] = (64, 48), filename: str | None = None
) -> Path:
    (data / "JPEGImages").mkdir(parents=True, exist_ok=True)
    (data / "Annotations").mkdir(exist_ok=True)
    noise = Image.effect_noise((64, 48), 60).convert("RGB")
    noise.save(data / "JPEGImages" / f"{stem}.jpg")
    xml = data / "Annotations" / f"{stem}.xml"
    xml.write_text(
        f"<annotation><filename>{filename or stem + '.jpg'}</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height></size>{''.join(objects)}</annotation>"
    )
    return xml


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_photograph(tmp_path / "data", "a_1", OBJECT.format("RBC", 0, 0, 20, 20))
    return tmp_path / "data"


def refusal(data: Path, **settings: object) -> DataError:
    """The error of a build, which must leave nothing behind."""
    out = data.parent / "out"
    with pytest.raises(DataError) as caught:
        build_bccd(data, out, field=16, **settings)  # type: ignore[arg-type]
    assert not out.exists()
    assert caught.value.remedy and caught.value.file
    return caught.value


def test_a_sound_folder_is_read_with_its_boxes(data: Path) -> None:
    (photograph,) = read_voc(data, classes=["RBC"])
    assert (photograph.stem, photograph.width, photograph.height) == ("a_1", 64, 48)
    assert [(box.name, box.box) for box in photograph.boxes] == [("RBC", (0.0, 0.0, 20.0, 20.0))]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in str(refusal(tmp_path / "nowhere"))


def test_an_empty_image_folder_is_refused(data: Path) -> None:
    (data / "JPEGImages" / "a_1.jpg").unlink()
    assert "holds no image" in str(refusal(data))


def test_an_empty_annotation_folder_is_refused(data: Path) -> None:
    (data / "Annotations" / "a_1.xml").unlink()
    assert "holds no XML" in str(refusal(data))


def test_a_truncated_jpeg_is_refused(data: Path) -> None:
    image = data / "JPEGImages" / "a_1.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    error = refusal(data)
    assert error.file == str(image) and "cannot be decoded" in error.rule


def test_an_annotation_of_a_missing_image_is_refused(data: Path) -> None:
    write_photograph(data, "a_2", filename="a_3.jpg")
    error = refusal(data)
    assert error.field == "filename" and "'a_3.jpg'" in error.rule


def test_an_image_without_annotation_is_not_an_image_without_cells(data: Path) -> None:
    xml = write_photograph(data, "a_2")
    xml.unlink()
    error = refusal(data)
    assert "not the same as having no cells" in error.rule and error.file.endswith("a_2.jpg")


def test_malformed_xml_is_refused_with_its_line(data: Path) -> None:
    xml = data / "Annotations" / "a_1.xml"
    xml.write_text("<annotation>\n<size>\n</annotation>")
    error = refusal(data)
    assert error.file == str(xml) and error.line == 3


@pytest.mark.parametrize(
    ("corners", "rule"),
    [
        ((5, 5, 5, 9), "has no area"),
        ((9, 5, 5, 9), "has no area"),
        ((60, 5, 65, 9), "leaves the picture of 64 x 48"),
        ((-1, 5, 5, 9), "leaves the picture"),
    ],
)
def test_a_bad_box_is_refused_by_default_and_counted_when_skipped(
    data: Path, corners: tuple[int, ...], rule: str
) -> None:
    write_photograph(data, "a_2", OBJECT.format("RBC", 1, 1, 9, 9), OBJECT.format("WBC", *corners))
    error = refusal(data)
    assert rule in error.rule and error.field == "object[1].bndbox" and "--on-bad skip" in error.remedy
    second = read_voc(data, classes=["RBC", "WBC"], on_bad="skip")[1]
    assert len(second.boxes) == 1 and second.bad_boxes == 1


def test_an_unknown_class_is_refused_even_when_bad_boxes_are_skipped(data: Path) -> None:
    write_photograph(data, "a_2", OBJECT.format("Lymphocyte", 1, 1, 9, 9))
    error = refusal(data, on_bad="skip")
    assert "unknown class 'Lymphocyte'; known are Platelets, RBC, WBC" in error.rule


def test_two_images_of_one_stem_are_refused(data: Path) -> None:
    Image.new("RGB", (64, 48)).save(data / "JPEGImages" / "a_1.png")
    assert "duplicate image stem 'a_1'" in str(refusal(data))


def test_two_annotations_of_one_image_are_refused(data: Path) -> None:
    (data / "Annotations" / "b.xml").write_text((data / "Annotations" / "a_1.xml").read_text())
    assert "a second annotation of image a_1.jpg" in str(refusal(data))


def test_a_size_that_disagrees_with_the_image_is_refused(data: Path) -> None:
    write_photograph(data, "a_2", size=(640, 480))
    error = refusal(data)
    assert error.field == "size" and "640 x 480" in error.rule and "64 x 48" in error.rule


def test_a_coordinate_that_is_no_number_is_refused(data: Path) -> None:
    write_photograph(data, "a_2", OBJECT.format("RBC", "one", 1, 9, 9))
    error = refusal(data)
    assert error.field == "object[0].bndbox.xmin" and "'one' is not a number" in error.rule


def test_another_word_for_on_bad_is_refused(data: Path) -> None:
    with pytest.raises(ValueError, match="'refuse' or 'skip'"):
        read_voc(data, classes=["RBC"], on_bad="ignore")  # type: ignore[arg-type]


def repaint(data: Path) -> None:
    Image.new("RGB", (64, 48), (9, 80, 3)).save(data / "JPEGImages" / "a_1.jpg")


def move_box(data: Path) -> None:
    write = data / "Annotations" / "a_1.xml"
    write.write_text(write.read_text().replace("<xmax>20<", "<xmax>30<"))


@pytest.mark.parametrize("change", [repaint, move_box])
def test_photographs_or_boxes_that_changed_are_other_settings(data: Path, change: Callable[[Path], None]) -> None:
    out = data.parent / "out"
    build_bccd(data, out, field=16)
    before = (out / "records.jsonl").read_bytes()
    assert build_bccd(data, out, field=16) == out
    change(data)
    with pytest.raises(DataError, match="with other settings .*photographs_sha256.*--overwrite"):
        build_bccd(data, out, field=16)
    assert (out / "records.jsonl").read_bytes() == before
    build_bccd(data, out, field=16, overwrite=True)
    assert (out / "records.jsonl").read_bytes() != before


def test_the_identity_of_many_photographs_is_one_hash(data: Path) -> None:
    for number in range(2, 40):
        write_photograph(data, f"a_{number}")
    config = read_manifest(build_bccd(data, data.parent / "out", field=16)).config
    assert config["photographs"] == 39 and len(config["photographs_sha256"]) == 64


def test_a_bad_box_is_named_with_its_number_and_line(tmp_path: Path) -> None:
    sound, bad = OBJECT.format("RBC", 0, 0, 20, 20), OBJECT.format("RBC", 5, 5, 5, 20)
    part = "<part>\n<object><name>RBC</name></object></part>"
    write_photograph(tmp_path / "data", "a_1", f"\n<!-- {bad} -->\n", sound.replace("<bnd", part + "<bnd"), bad)
    error = refusal(tmp_path / "data")
    assert (error.field, error.line) == ("object[1].bndbox", 4)


def test_a_photograph_smaller_than_a_field_says_how_to_choose_another(data: Path) -> None:
    with pytest.raises(DataError, match="64 x 48 pixels, less than a field of 50.*--set field=48 or less"):
        build_bccd(data, data.parent / "out", field=50)
