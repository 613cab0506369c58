"""Reading and validating: every error names file, line, record, field, rule and remedy."""

import json

import pytest
from PIL import Image

from vlmalign.records import Case, DataError, DatasetBuild, ImageRef, Preference, read_records, user
from vlmalign.records.leakage import check_no_leakage
from vlmalign.records.validation import folder_stats, validate_folder


@pytest.fixture
def folder(tmp_path):
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for i in range(3):
            ref = build.add_image(Image.effect_noise((8, 8), 60 + i).convert("RGB").resize((64, 64)))
            record = Case(
                id=f"c{i}", images=(ref,), messages=(user("Describe.", images=1),),
                domain="d", group_id=f"g{i}", group_kind="slide",
            )  # fmt: skip
            build.commit(record.id, [record])
    return tmp_path / "cases"


def edit_line(folder, number, change):
    path = folder / "records.jsonl"
    lines = path.read_text().splitlines()
    lines[number - 1] = change(lines[number - 1])
    path.write_text("\n".join(lines) + "\n")


def edit_record(folder, number, **fields):
    edit_line(folder, number, lambda line: json.dumps(json.loads(line) | fields))


def test_a_sound_folder_has_no_problems(folder):
    assert validate_folder(folder) == []


def test_a_malformed_line_in_the_middle_is_named_and_the_others_are_still_checked(folder):
    edit_line(folder, 2, lambda line: line[:40])
    edit_record(folder, 3, group_kind="")
    problems = validate_folder(folder)
    assert [(p.line, p.field) for p in problems[:2]] == [(2, None), (3, "group_kind")]
    with pytest.raises(DataError, match=r"records.jsonl:2.*Invalid JSON"):
        read_records(folder, Case)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "images/../../x.png", "C:/x.png"])
def test_an_image_path_may_not_leave_the_folder(folder, path):
    edit_record(folder, 1, images=[{"path": path, "sha256": "0" * 64}])
    problem = validate_folder(folder)[0]
    assert (problem.line, problem.record, problem.field) == (1, "c0", "images.0.path")
    assert repr(path) in problem.rule


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    (tmp_path / "outside.png").write_bytes(b"x")
    ref = read_records(folder, Case)[0].images[0]
    (folder / ref.path).unlink()
    (folder / ref.path).symlink_to(tmp_path / "outside.png")
    assert "leads out of the dataset folder" in validate_folder(folder)[0].rule


def test_missing_truncated_and_exchanged_images_are_three_different_problems(folder):
    paths = [folder / c.images[0].path for c in read_records(folder, Case)]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    Image.new("RGB", (4, 4)).save(paths[2])
    rules = [p.rule for p in validate_folder(folder)]
    assert "missing" in rules[0] and "cannot be decoded" in rules[1] and "other bytes" in rules[2]


def test_duplicate_ids_name_the_first_line(folder):
    edit_record(folder, 3, id="c0")
    assert "first used on line 1" in validate_folder(folder)[0].rule


def test_an_unknown_field_is_refused(folder):
    edit_record(folder, 1, diagnosis="AML")
    assert validate_folder(folder)[0].field == "diagnosis"


def test_a_lost_line_disagrees_with_the_manifest(folder):
    path = folder / "records.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert "the manifest counts 3 records, the file has 2" in validate_folder(folder)[0].rule


def test_no_such_folder_and_an_empty_folder_are_named(tmp_path):
    assert validate_folder(tmp_path / "none")[0].rule == "no such folder"
    assert "manifest.json is missing" in validate_folder(tmp_path)[0].rule


def test_a_folder_of_another_kind_is_refused(folder):
    with pytest.raises(DataError, match="holds case records, not preference records"):
        read_records(folder, Preference)


def test_stats_count_groups_and_splits(folder):
    stats = folder_stats(folder)
    assert (stats["groups"], stats["counts"]["records"], stats["split"]) == (3, 3, {"unassigned": 3})


def test_a_shared_group_is_leakage(folder):
    with pytest.raises(DataError, match="3 groups are in training and in evaluation"):
        check_no_leakage([folder], [folder])


def test_a_resized_copy_of_an_image_is_leakage(folder, tmp_path):
    with DatasetBuild(tmp_path / "other", "case", {}) as build:
        first = read_records(folder, Case)[0]
        with Image.open(folder / first.images[0].path) as image:
            ref = build.add_image(image.resize((96, 96)))
        copy = first.model_copy(update={"id": "x", "group_id": "elsewhere", "images": (ref,)})
        build.commit("x", [copy])
    check_no_leakage([folder], [tmp_path / "other"])
    with pytest.raises(DataError, match="near-duplicate"):
        check_no_leakage([folder], [tmp_path / "other"], max_bits=4)


def test_a_prompt_must_have_a_place_for_every_image():
    with pytest.raises(ValueError, match="1 image places but the record has 2 images"):
        Case(
            id="c", images=(ImageRef(path="a.png", sha256="0" * 64),) * 2,
            messages=(user("Describe.", images=1),), domain="d", group_id="g", group_kind="slide",
        )  # fmt: skip
