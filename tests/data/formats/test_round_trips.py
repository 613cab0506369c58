"""Foreign rows come back the same after the listed normalisations; ours keep what a format can hold."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from vlmalign.data.formats import FORMATS, export_rows, get_format
from vlmalign.data.formats.files import read_rows, row_files
from vlmalign.records import (
    DatasetBuild,
    Demonstration,
    Preference,
    assistant,
    read_records,
    user,
)
from vlmalign.records.manifest import KINDS, read_manifest
from vlmalign.records.validation import validate_folder

_spec = importlib.util.spec_from_file_location("format_rows", Path(__file__).with_name("rows.py"))
rows = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rows)


def back(folder):
    """Rows of a written folder, nulls of Parquet columns left out."""
    return [{k: v for k, v in row.items() if v is not None} for _, row in read_rows(row_files(folder))]


def placed(form, desk):
    """What an image of a row becomes, worked out apart from the code."""

    def place(image):
        data = image["bytes"] if isinstance(image, dict) else (desk.root / "in" / image).read_bytes()
        name = f"{hashlib.sha256(data).hexdigest()}.png"
        if form.container == "parquet":
            return {"bytes": data, "path": name}
        return f"images/{name[:2]}/{name}"

    return place


@pytest.mark.parametrize("name", FORMATS)
def test_rows_come_back_the_same_after_the_listed_normalisations(name, desk):
    form, given = get_format(name), rows.ROWS[name]
    ours = desk.read(name, given, rows.CONTAINERS[name])
    assert validate_folder(ours) == []
    report = export_rows(form, ours, desk.root / "back")
    found = back(desk.root / "back")
    assert found == [form.normalise(row, placed(form, desk)) for row in given]
    assert report.records == len(given) and not report.left_out
    assert "patient-7" not in (ours / "records.jsonl").read_text()


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_that_was_written_comes_back_as_it_is(name, desk):
    form = get_format(name)
    ours = desk.read(name, rows.ROWS[name], rows.CONTAINERS[name])
    export_rows(form, ours, desk.root / "back")
    again = desk.read(name, desk.root / "back", out="again")
    assert (again / "records.jsonl").read_bytes() == (ours / "records.jsonl").read_bytes()
    export_rows(form, again, desk.root / "back-again")
    assert back(desk.root / "back-again") == back(desk.root / "back")


def test_every_normalisation_changes_a_row_of_its_format(desk):
    for name, form in FORMATS.items():
        needed = set()
        for row in rows.ROWS[name]:
            for one in form.normalisations:
                after = one.apply(row, placed(form, desk))
                if repr(after) != repr(row):
                    needed.add(one)
                row = after
        idle = [n.about for n in form.normalisations if n not in needed and n.name not in ("nulls", "bare_turns")]
        assert idle == [], name


@pytest.fixture
def rich(tmp_path):
    """One pair that says all that a pair can say, and one that says little."""
    with DatasetBuild(tmp_path / "rich", "preference", {}) as build:
        image = build.add_image(Image.new("RGB", (8, 8), (5, 6, 7)), modality="xray", spacing_mm=(0.1, 0.2))
        full = Preference(
            id="p1", case_id="c1", group_id="g1", split="train", images=(image,), source="expert", margin=1.5,
            prompt=(user("What?", images=1),), chosen=(assistant("A."),), rejected=(assistant("B."),), weight=0.5,
            chosen_critique="right", rejected_critique="wrong", expert_ids=("e@1",), judge_ids=("j@1",),
            chosen_rating=2.0, rejected_rating=0.5, changed_claim={"concept": "cell", "chosen": "one"},
            provenance={"policy": "x"}, extra={"other": {"note": 1}},
        )  # fmt: skip
        plain = build.add_image(Image.new("RGB", (8, 8), (9, 6, 7)))
        bare = Preference(
            id="p2", case_id="p2", group_id="g2", split="unassigned", images=(plain,), source="import",
            prompt=full.prompt, chosen=full.chosen, rejected=full.rejected,
        )  # fmt: skip
        build.commit("all", [full, bare])
    return tmp_path / "rich"


PAIRS = [name for name, form in FORMATS.items() if form.kind == "preference"]


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_lost_is_counted_and_exactly_that_is_missing(name, rich, desk):
    form = get_format(name)
    report = export_rows(form, rich, desk.root / "out")
    assert json.loads((desk.root / "out" / "conversion.json").read_text())["lost"] == dict(report.lost)
    for old, new in zip(
        read_records(rich, Preference), read_records(desk.read(name, desk.root / "out"), Preference), strict=True
    ):
        differ = {f for f in type(old).model_fields if getattr(old, f) != getattr(new, f)} - {"group_id"}
        details = [ref.model_copy(update={"path": "x"}) for ref in old.images] != [
            ref.model_copy(update={"path": "x"}) for ref in new.images
        ]
        if old.id == "p1":
            lost = {k.split(".")[0] for k in report.lost} - {"group_id", "image_details"}
            assert differ - {"images", "extra"} == lost - {"extra"} and details == ("image_details" in report.lost)
        else:
            assert differ - {"id", "case_id", "images", "extra"} == set()
    assert report.lost["group_id"] == 2 and report.lost["split"] == 1


@pytest.mark.parametrize("name", PAIRS)
def test_a_carried_column_brings_everything_back(name, rich, desk):
    report = export_rows(get_format(name), rich, desk.root / "out", carry=True)
    assert report.carried
    ours = desk.read(name, desk.root / "out")
    assert (ours / "records.jsonl").read_bytes() == (rich / "records.jsonl").read_bytes()


def test_demonstrations_with_later_turns_come_back(desk):
    with DatasetBuild(desk.root / "demos", "demonstration", {}) as build:
        image = build.add_image(Image.new("RGB", (8, 8)))
        one = Demonstration(
            id="d", case_id="d", group_id="g", split="unassigned", images=(image,), source="import",
            prompt=(user("What?", images=1),), response=(assistant("A."), user("Where?"), assistant("Left.")),
        )  # fmt: skip
        build.commit("d", [one])
    export_rows(get_format("llava"), desk.root / "demos", desk.root / "out")
    (row,) = back(desk.root / "out")
    assert [turn["value"] for turn in row["conversations"]] == ["<image>\nWhat?", "A.", "Where?", "Left."]
    (again,) = read_records(desk.read("llava", desk.root / "out"), Demonstration)
    assert (again.prompt, again.response) == (one.prompt, one.response)


def test_a_million_character_array_is_read_element_by_element(desk):
    given = [{"id": str(k), "conversations": [rows.turn("human", "x" * 70_000), rows.turn("gpt", "é]},{")]}
             for k in range(40)]  # fmt: skip
    path = desk.write(given, "json")
    assert [row for _, row in read_rows([path])] == given
    path.write_text(path.read_text()[:-20])
    from vlmalign.records import DataError

    with pytest.raises(DataError, match=r"rows.json, record 'row 40': not valid JSON"):
        list(read_rows([path]))


def test_every_format_says_what_it_is_and_which_kind_it_holds():
    for name, form in FORMATS.items():
        assert form.name == name and form.kind in KINDS and form.about
        assert all(one.name and one.about for one in form.normalisations)


def test_written_parquet_is_read_by_the_datasets_library_with_decoded_images(desk):
    import datasets

    ours = desk.read("rlaif-v", rows.RLAIF_V, "parquet")
    for name, field in (("rlaif-v", "image"), ("trl", "images"), ("vl-rewardbench", "image")):
        export_rows(get_format(name), ours, desk.root / name)
        file = str(desk.root / name / "rows.parquet")
        table = datasets.load_dataset(
            "parquet", data_files=file, split="train", cache_dir=str(desk.root / "cache")
        )
        image = table[0][field]
        assert (image[0] if isinstance(image, list) else image).size == (8, 8)


def test_rows_of_unknown_licence_may_not_be_sent_anywhere_until_it_is_said(desk):
    assert read_manifest(desk.read("llava", rows.LLAVA)).data_use == "local_only"
    assert read_manifest(desk.read("llava", rows.LLAVA, out="said", data_use="open")).data_use == "open"
