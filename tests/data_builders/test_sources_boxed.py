from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data_builders.sources.boxed import build_coco, build_voc
from data_builders.sources.table import build_table
from vlmalign.records import Case, DataError, read_manifest, read_records
from vlmalign.records.validation import validate_folder

CONTENT: dict[str, list[dict[str, Any]]] = {
    "images": [
        {"id": 7, "file_name": "p1_a.png", "width": 20, "height": 10},
        {"id": 3, "file_name": "p1_b.png", "width": 20, "height": 10},
    ],
    "categories": [{"id": 1, "name": "Red Cell"}, {"id": 2, "name": "Platelet"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 5, 4]},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [10, 2, 10, 8]},
        {"id": 3, "image_id": 3, "category_id": 2, "bbox": [0, 0, 20, 10], "iscrowd": 1},
    ],
}


def write_coco(root: Path, **changes: Any) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for shade, name in enumerate(("p1_a", "p1_b")):
        about = PngInfo()
        about.add_text("Patient", "DOE^JANE")
        Image.new("L", (20, 10), shade).save(root / "images" / f"{name}.png", pnginfo=about)
    (root / "boxes.json").write_text(json.dumps({**CONTENT, **changes}))
    return root


def coco(root: Path, out: Path, **settings: Any) -> Path:
    return build_coco(root, out, annotations="boxes.json", domain="smears", own_names=True, **settings)


def test_coco_boxes_become_corners_counts_and_absences(tmp_path: Path) -> None:
    out = coco(write_coco(tmp_path / "data"), tmp_path / "out", group=r"(?P<patient>p\d+)_")
    first, second = read_records(out, Case)
    assert validate_folder(out) == [] and first.group_id == second.group_id and first.group_kind == "patient"
    red, platelet = first.reference.findings
    assert (red.concept, red.status, red.value) == ("red_cell", "present", 2.0)
    assert red.region.boxes == ((1.0, 2.0, 6.0, 6.0), (10.0, 2.0, 20.0, 10.0))
    assert (platelet.status, platelet.value) == ("absent", 0.0)
    assert second.reference.findings[1].status == "uncertain"
    assert read_manifest(out).data_use == "local_only"


def test_comments_of_pictures_of_unknown_origin_stay_behind(tmp_path: Path) -> None:
    out = coco(write_coco(tmp_path / "data"), tmp_path / "out")
    assert all(b"DOE" not in file.read_bytes() for file in out.rglob("*") if file.is_file())


def test_a_class_that_nobody_looked_for_is_not_absent(tmp_path: Path) -> None:
    first = read_records(coco(write_coco(tmp_path / "data"), tmp_path / "out", exhaustive=False), Case)[0]
    assert [f.concept for f in first.reference.findings] == ["red_cell"]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"images": [{**CONTENT["images"][0], "file_name": "../x.png"}], "annotations": []},
            "leaves the data folder",
        ),
        ({"annotations": [{"id": 1, "image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}]}, "not in the file"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1]}]}, "is not four numbers"),
        (
            {"annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [9, 0, 12, 1]}]},
            "leaves the picture",
        ),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [9, 0, 0, 1]}]}, "has no area"),
        ({"categories": [{"id": 1}]}, "'name' is missing"),
        ({"images": [*CONTENT["images"], CONTENT["images"][0]]}, "id 7 is there twice"),
        ({"images": {}}, "there is no list 'images'"),
    ],
)
def test_a_broken_coco_file_names_its_entry(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        coco(write_coco(tmp_path / "data", **changes), tmp_path / "out")
    assert caught.value.file.endswith("boxes.json") and not (tmp_path / "out").exists()


def test_bad_boxes_are_counted_when_skipped_and_a_wrong_size_is_told(tmp_path: Path) -> None:
    bad = [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [9, 0, 0, 1]}]
    data = write_coco(tmp_path / "data", annotations=bad)
    assert read_manifest(coco(data, tmp_path / "out", on_bad="skip")).counts["bad_boxes"] == 1
    Image.new("L", (21, 10)).save(write_coco(data) / "images/p1_a.png")
    with pytest.raises(DataError, match="21 x 10 pixels, its annotation says another size"):
        coco(data, tmp_path / "again")


def test_a_category_without_a_concept_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="category 'Platelet' has no concept.*concepts.Platelet"):
        coco(write_coco(tmp_path / "data"), tmp_path / "out", concepts={"Red Cell": "red_cell"})


@pytest.mark.parametrize("group", ["(", "p"])
def test_an_expression_that_cannot_group_is_refused(tmp_path: Path, group: str) -> None:
    with pytest.raises(ValueError, match="group is"):
        coco(write_coco(tmp_path / "data"), tmp_path / "out", group=group)


def test_voc_classes_are_mapped_to_concepts(tmp_path: Path) -> None:
    data = tmp_path / "voc"
    (data / "JPEGImages").mkdir(parents=True)
    (data / "Annotations").mkdir()
    Image.new("RGB", (20, 10)).save(data / "JPEGImages/jane.png")
    (data / "Annotations/jane.xml").write_text(
        "<annotation><filename>jane.png</filename><size><width>20</width><height>10</height></size><object>"
        "<name>RBC</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
    )
    names: dict[str, Any] = {"domain": "smears", "own_names": True}
    out = build_voc(data, tmp_path / "out", concepts={"RBC": "red_cell", "WBC": "leukocyte"}, **names)
    (case,) = read_records(out, Case)
    assert {f.concept: f.value for f in case.reference.findings} == {"red_cell": 1.0, "leukocyte": 0.0}
    assert all(b"jane" not in file.read_bytes() for file in out.rglob("*") if file.is_file())
    (tmp_path / "far.png").write_bytes((data / "JPEGImages/jane.png").read_bytes())
    (data / "JPEGImages/jane.png").unlink()
    (data / "JPEGImages/jane.png").symlink_to(tmp_path / "far.png")
    with pytest.raises(DataError, match="link out"):
        build_voc(data, tmp_path / "b", concepts={"RBC": "red_cell"}, **names)


TABLE = """path,who,part,report,pneumonia,side,ctr,gender,years
a.png; b.png,Jane,train,Heart is large.,1,left,0.61,F,44
b.png,John,test,,,,,M,200
a.png,Jane,train,,-1,,,F,44
"""
COLUMNS: dict[str, Any] = {
    "table": "t.csv", "domain": "chest_xray", "image": "path", "group": "who", "split": "part", "text": "report",
    "findings": {"pneumonia": "pneumonia"}, "categories": {"opacity_side": "side"},
    "measurements": {"cardiothoracic_ratio": "ctr"}, "sex": "gender", "age": "years",
}  # fmt: skip


def write_table(root: Path, text: str = TABLE) -> Path:
    root.mkdir(exist_ok=True)
    for shade, name in enumerate("ab"):
        Image.new("L", (8, 8), shade).save(root / f"{name}.png")
    (root / "t.csv").write_text(text)
    return root


def test_a_table_maps_its_columns_and_a_blank_cell_is_not_assessed(tmp_path: Path) -> None:
    out = build_table(write_table(tmp_path / "data"), tmp_path / "out", **COLUMNS)
    first, second, third = read_records(out, Case)
    assert validate_folder(out) == [] and len(first.images) == 2 and first.reference.text == "Heart is large."
    assert [(f.status, f.value, f.unit) for f in first.reference.findings] == [
        ("present", None, None),
        ("present", "left", None),
        ("present", 0.61, "1"),
    ]
    assert {f.status for f in second.reference.findings} == {"not_assessed"}
    assert first.group_id == third.group_id != second.group_id and second.split == "test"
    assert (first.attributes.sex, first.attributes.age_band, second.attributes.age_band) == (
        "female",
        "40-59",
        None,
    )
    assert third.reference.findings[0].status == "uncertain"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("b.png,John", "/etc/passwd,John", r"t.csv:3, field 'path': the path '/etc/passwd' leaves"),
        ("b.png,John", ",John", "the row names no picture"),
        ("John,test", ",test", "the group is not named"),
        ("John,test", "Jane,test", "stands in two splits"),
        ("John,test", "John,later", "'later' is none of train"),
        ("0.61", "wide", "'wide' is not a number"),
        (",1,left", ",maybe,left", "'maybe' is none of"),
        ("who", "whom", "column 'who' is missing"),
        (",1,left", ",1,middle", "field 'side': 'middle' is no value of opacity_side: left, right, both"),
        (TABLE.split("\n", 1)[1], "", "t.csv:1: the table has no rows below its header"),
    ],
)
def test_a_wrong_cell_is_named_before_anything_is_written(tmp_path: Path, old: str, new: str, rule: str) -> None:
    data = write_table(tmp_path / "data", TABLE.replace(old, new, 1))
    with pytest.raises(DataError, match=rule):
        build_table(data, tmp_path / "out", **COLUMNS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"domain": "chest_xry"}, "unknown domain 'chest_xry'. Did you mean 'chest_xray'?"),
        ({"domain": "my_set"}, "unknown domain 'my_set'.*own_names=true"),
        ({"findings": {"pneumnia": "pneumonia"}}, "chest_xray has no concept 'pneumnia'. Did you mean "
        "'pneumonia'?"),
        ({"findings": {"opacity_side": "side"}}, "opacity_side of chest_xray is one of left, right"),
        ({"categories": {"cardiothoracic_ratio": "ctr"}}, "cardiothoracic_ratio of chest_xray is a number"),
        ({"measurements": {"pneumonia": "ctr"}}, "pneumonia of chest_xray is no number: those are cardio"),
        ({"units": {"cardiothoracic_ratio": "mm"}}, "has the unit 'mm', chest_xray reads it in '1'"),
        ({"units": {"ctr": "1"}}, "unknown measurement 'ctr'"),
    ],
)  # fmt: skip
def test_a_name_that_the_logic_does_not_know_is_refused_before_anything_is_read(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        build_table(tmp_path / "nowhere", tmp_path / "out", **{**COLUMNS, **changes})
    assert not list(tmp_path.iterdir())


def test_names_of_ones_own_are_taken_where_they_are_said_to_be_meant(tmp_path: Path) -> None:
    own = {**COLUMNS, "findings": {"pneumonia": "pneumonia", "rib_notching": "pneumonia"}, "own_names": True}
    (first, *_) = read_records(build_table(write_table(tmp_path / "data"), tmp_path / "out", **own), Case)
    assert [f.concept for f in first.reference.findings][:2] == ["pneumonia", "rib_notching"]


@pytest.mark.parametrize(
    ("concept", "rule"),
    [
        ("leukocytes", "concepts.WBC: peripheral_smear has no concept 'leukocytes'. Did you mean 'leukocyte'?"),
        ("focus", "focus of peripheral_smear is one of sharp, blurred"),
        ("red_cell_cover", "red_cell_cover of peripheral_smear is no number of things"),
    ],
)
def test_boxes_are_mapped_to_concepts_that_the_logic_counts(tmp_path: Path, concept: str, rule: str) -> None:
    given: dict[str, Any] = {"domain": "peripheral_smear", "concepts": {"WBC": concept}}
    with pytest.raises(ValueError, match=rule):
        build_voc(tmp_path / "nowhere", tmp_path / "out", **given)
    with pytest.raises(ValueError, match=rule):
        build_coco(tmp_path / "nowhere", tmp_path / "out", annotations="a.json", **given)


def test_categories_without_a_mapping_are_checked_as_concepts_and_a_file_without_pictures_is_refused(
    tmp_path: Path,
) -> None:
    data = write_coco(tmp_path / "data")
    with pytest.raises(ValueError, match="concepts.Red Cell: peripheral_smear has no concept 'red_cell'"):
        build_coco(data, tmp_path / "out", annotations="boxes.json", domain="peripheral_smear")
    write_coco(data, images=[], annotations=[])
    with pytest.raises(DataError, match="boxes.json.*the file names no picture"):
        coco(data, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
