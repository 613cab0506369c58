"""Reading and validating: every error names file, line, record, field, rule and remedy."""

import json

import pytest
from PIL import Image

from vlmalign.records import (
    Case,
    DataError,
    DatasetBuild,
    Finding,
    ImageRef,
    Preference,
    RecordFolder,
    Reference,
    Region,
    read_records,
    user,
)
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


def test_leakage_is_said_with_both_folders_and_records(folder, tmp_path):
    first = read_records(folder, Case)[0]

    def copy(name, **changes):
        with DatasetBuild(tmp_path / name, "case", {}) as build:
            images = (build.adopt(first.images[0], folder),)
            build.commit("x", [first.model_copy(update={"id": "x", "images": images, **changes})])
        return tmp_path / name

    group = copy("group")
    says = rf"1 groups .* e.g. '{first.group_id}': in {folder} \(record '{first.id}'\) and in {group} \(record 'x'"
    with pytest.raises(DataError, match=says):
        check_no_leakage([folder], [group])
    image = copy("image", group_id="elsewhere")
    says = rf"1 images .* e.g. {folder}/images/.* \(record '{first.id}'\) and {image}/images/.* \(record 'x'"
    with pytest.raises(DataError, match=says):
        check_no_leakage([folder], [image])


def test_a_resized_copy_of_an_image_is_leakage(folder, tmp_path):
    with DatasetBuild(tmp_path / "other", "case", {}) as build:
        first = read_records(folder, Case)[0]
        with Image.open(folder / first.images[0].path) as image:
            ref = build.add_image(image.resize((96, 96)))
        copy = first.model_copy(update={"id": "x", "group_id": "elsewhere", "images": (ref,)})
        build.commit("x", [copy])
    check_no_leakage([folder], [tmp_path / "other"])
    both = (
        rf"near-duplicate images in .*{folder}/.* \(record '{first.id}'\) and {tmp_path}/other/.* \(record 'x'\)"
    )
    with pytest.raises(DataError, match=both):
        check_no_leakage([folder], [tmp_path / "other"], max_bits=4)


def test_a_prompt_must_have_a_place_for_every_image():
    with pytest.raises(ValueError, match="1 image places but the record has 2 images"):
        Case(
            id="c", images=(ImageRef(path="a.png", sha256="0" * 64),) * 2,
            messages=(user("Describe.", images=1),), domain="d", group_id="g", group_kind="slide",
        )  # fmt: skip


@pytest.fixture
def masked(tmp_path):
    """Two cases whose findings carry masks and boxes."""
    with DatasetBuild(tmp_path / "masked", "case", {}) as build:
        for i in range(2):
            ref = build.add_image(Image.effect_noise((64, 48), 60 + i).convert("RGB"))
            mask = build.add_image(Image.new("L", (64, 48), i + 1))
            found = tuple(
                Finding(id=f"c{i}/{name}", image=ref, concept=name, status="present", region=region, expert="e@1")
                for name, region in (
                    ("cell", Region(mask=mask.path, label=1)), ("box", Region(boxes=((0, 0, 64, 48),))),
                )
            )  # fmt: skip
            record = Case(
                id=f"c{i}", images=(ref,), messages=(user("Describe.", images=1),), domain="d",
                group_id=f"g{i}", group_kind="slide", reference=Reference(findings=found),
            )  # fmt: skip
            build.commit(record.id, [record])
    return tmp_path / "masked"


def mask_of(folder, number):
    return read_records(folder, Case)[number].reference.findings[0].region.mask


def test_a_folder_with_masks_and_boxes_up_to_the_border_is_sound(masked):
    assert validate_folder(masked) == []


def test_a_missing_mask_is_a_problem_of_the_finding_that_names_it(masked):
    (masked / mask_of(masked, 1)).unlink()
    (problem,) = validate_folder(masked)
    assert (problem.line, problem.record) == (2, "c1")
    assert problem.field == "reference.findings.0.region.mask"
    assert "the image file is missing" in problem.rule


def test_a_damaged_and_an_exchanged_mask_are_told_apart(masked):
    first, second = (masked / mask_of(masked, i) for i in range(2))
    first.write_bytes(first.read_bytes()[:40])
    Image.new("L", (64, 48), 7).save(second)
    rules = [problem.rule for problem in validate_folder(masked)]
    assert "cannot be decoded" in rules[0] and "other bytes" in rules[1] and len(rules) == 2


def test_a_mask_of_another_size_than_its_image_is_refused(masked):
    small = masked / "images" / "small.png"
    Image.new("L", (8, 8), 1).save(small)

    def point_to_it(line):
        record = json.loads(line)
        record["reference"]["findings"][0]["region"]["mask"] = "images/small.png"
        return json.dumps(record)

    edit_line(masked, 1, point_to_it)
    assert "has 8 x 8 pixels, its image 64 x 48" in validate_folder(masked)[0].rule


@pytest.mark.parametrize("box", [[0, 0, 65, 48], [-1, 0, 5, 5], [0, 40, 5, 49]])
def test_a_box_that_leaves_its_image_is_refused(masked, box):
    def move(line):
        record = json.loads(line)
        record["reference"]["findings"][1]["region"]["boxes"] = [box]
        return json.dumps(record)

    edit_line(masked, 2, move)
    problem = validate_folder(masked)[0]
    assert "leaves the image of 64 x 48 pixels" in problem.rule
    assert (problem.line, problem.record) == (2, "c1")
    assert problem.field == "reference.findings.1.region.boxes.0"


def test_bytes_that_are_no_text_are_a_problem_of_their_line(folder):
    path = folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1][:30] + b"\xff" + lines[1][31:], *lines[2:]]))
    assert validate_folder(folder)[0].line == 2
    with pytest.raises(DataError, match=r"records.jsonl:2.*Invalid JSON"):
        read_records(folder, Case)


def test_reading_refuses_a_duplicate_id_instead_of_using_the_record_twice(folder):
    edit_record(folder, 3, id="c0")
    with pytest.raises(DataError, match=r"records.jsonl:3, record 'c0', field 'id': duplicate id, first used on"):
        read_records(folder, Case)


def test_reading_refuses_a_file_that_lost_its_last_line(folder):
    path = folder / "records.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match="2 records, the manifest counts 3"):
        read_records(folder, Case)


def test_reading_refuses_a_record_that_was_changed_after_the_build(folder):
    edit_record(folder, 2, group_id="another")
    with pytest.raises(DataError, match="changed after it was built"):
        read_records(folder, Case)


def test_an_image_error_names_the_record_that_was_asked_for(folder):
    opened = RecordFolder(folder, Case)
    ref = next(iter(opened)).images[0]
    (folder / ref.path).unlink()
    with pytest.raises(DataError, match=r"record 'c0': the image file is missing"):
        opened.image(ref, record="c0")


def test_without_images_nothing_is_opened_but_every_file_must_be_there(masked, tmp_path):
    first, second = (masked / mask_of(masked, i) for i in range(2))
    for image in {masked / ref.path for case in read_records(masked, Case) for ref in case.images}:
        image.write_bytes(b"not a picture")
    assert validate_folder(masked, images=False) == []
    first.unlink()
    (tmp_path / "outside.png").write_bytes(b"x")
    second.unlink()
    second.symlink_to(tmp_path / "outside.png")
    missing, linked = validate_folder(masked, images=False)
    assert (missing.line, missing.record, missing.field) == (1, "c0", "reference.findings.0.region.mask")
    assert "the image file is missing" in missing.rule
    assert (linked.line, linked.field) == (2, "reference.findings.0.region.mask")
    assert "leads out of the dataset folder" in linked.rule


def test_a_linked_folder_of_images_is_looked_through(folder, tmp_path):
    place = folder / read_records(folder, Case)[0].images[0].path
    place.parent.rename(folder / "images" / "moved")
    place.parent.symlink_to(folder / "images" / "moved")
    assert validate_folder(folder, images=False) == []


def test_every_file_that_a_record_names_is_found_by_kind_as_by_walking_it(masked):
    from vlmalign.records.file_presence import file_names
    from vlmalign.records.validation import parts_of

    for case in read_records(masked, Case):
        parts = [part for _, part in parts_of(case)]
        walked = {part.path for part in parts if isinstance(part, ImageRef)}
        walked |= {part.mask for part in parts if isinstance(part, Region) and part.mask}
        assert set(file_names(case)) == walked
        (finding, _) = case.reference.findings
        assert set(file_names(finding)) == {finding.image.path, finding.region.mask}
