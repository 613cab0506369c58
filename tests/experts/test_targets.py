import numpy as np
import pytest
from PIL import Image

from experts.targets import ellipse_labels, load_targets, split_groups, to_array, working_size
from vlmalign.records import Case, DataError, DatasetBuild, Finding, Reference, Region, read_records, user


def test_small_images_keep_their_size_and_large_ones_keep_their_shape():
    assert working_size((96, 96), 96) == (96, 96)
    assert working_size((640, 480), 160) == (160, 120)
    assert to_array(Image.new("L", (64, 32)), 16).shape == (8, 16, 3)


def test_an_ellipse_has_the_area_of_an_ellipse():
    labels = ellipse_labels([[(10, 20, 50, 40)]], (60, 60))
    assert (labels == 1).sum() == pytest.approx(np.pi * 20 * 10, rel=0.01)


def test_the_structure_with_smaller_boxes_lies_on_top_whatever_the_order():
    large, small = [(0, 0, 20, 20)], [(8, 8, 12, 12)]
    assert ellipse_labels([large, small], (20, 20))[10, 10] == 2
    assert ellipse_labels([small, large], (20, 20))[10, 10] == 1


def test_boxes_beyond_the_border_are_cut():
    labels = ellipse_labels([[(-10, -10, 10, 10)]], (16, 16))
    assert labels[0, 0] == 1 and labels[12, 12] == 0


def test_masks_and_boxes_of_the_same_discs_give_nearly_the_same_targets(discs, disc_boxes):
    masks, boxes = load_targets(discs, limit=64), load_targets(disc_boxes, limit=64)
    assert masks.structures == boxes.structures == ("disc", "dot")
    assert (masks.boxes_only, boxes.boxes_only) == (False, True)
    for mine, theirs in zip(masks.fields, boxes.fields, strict=True):
        assert mine.counts == theirs.counts
        assert (mine.labels != theirs.labels).mean() < 0.01


def test_a_smaller_working_size_reduces_image_and_labels_alike(discs):
    field = load_targets(discs, limit=16).fields[0]
    assert field.image.shape == (16, 16, 3) and field.labels.shape == (16, 16)


def test_groups_are_divided_whole_and_each_part_gets_one():
    groups = [f"g{i // 4}" for i in range(40)]
    learn, choose, held = split_groups(groups, (0.1, 0.2), 3)
    assert (len(learn), len(choose), len(held)) == (7, 1, 2)
    assert not learn & choose and not learn & held and not choose & held
    assert split_groups(["a", "b", "c"], (0.01, 0.01), 0)[0]


def test_two_groups_are_too_few():
    with pytest.raises(ValueError, match="at least 3 are required"):
        split_groups(["a", "b", "a"], (0.1, 0.1), 0)


def case_with(build, findings):
    image = build.add_image(Image.new("RGB", (8, 8)))
    found = tuple(Finding(id=f"f{i}", image=image, expert="x@1", **f) for i, f in enumerate(findings))
    return Case(
        id="c1", images=(image,), messages=(user("?", images=1),), reference=Reference(findings=found),
        domain="d", group_id="g", group_kind="slide",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("findings", "rule"),
    [
        ([], "no finding counts any structure"),
        ([{"concept": "dot_count", "status": "present", "value": "some"}], "'some' is no count"),
        ([{"concept": "dot_count", "status": "present", "value": 2.0}], "no region"),
    ],
)
def test_a_case_that_cannot_be_learnt_from_is_named(tmp_path, findings, rule):
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        build.commit("one", [case_with(build, findings)])
    with pytest.raises(DataError, match=rule) as error:
        load_targets(tmp_path / "cases", limit=64)
    assert error.value.record == "c1"


def test_images_with_an_unsettled_structure_are_left_out_and_counted(tmp_path):
    absent = {"concept": "dot_count", "status": "absent", "value": 0.0}
    unsettled = {"concept": "dot_count", "status": "uncertain", "value": 0.0}
    for name, findings in (("mixed", [absent, unsettled]), ("none", [unsettled])):
        with DatasetBuild(tmp_path / name, "case", {}) as build:
            for i, finding in enumerate(findings):
                build.commit(f"{i}", [case_with(build, [finding]).model_copy(update={"id": f"c{i}"})])
    data = load_targets(tmp_path / "mixed", limit=64)
    assert (len(data.fields), data.left_out) == (1, 1)
    with pytest.raises(DataError, match="all 1 images have a structure that is uncertain"):
        load_targets(tmp_path / "none", limit=64)


def test_boxes_of_the_cover_include_cells_that_the_border_cuts(tmp_path):
    count = {"concept": "dot_count", "status": "absent", "value": 0.0, "region": Region(boxes=())}
    cover = {
        "concept": "dot_cover", "status": "present", "value": 0.1, "region": Region(boxes=((0.0, 0.0, 3.0, 3.0),))
    }  # fmt: skip
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        build.commit("one", [case_with(build, [count, cover])])
    (field,) = load_targets(tmp_path / "cases", limit=64).fields
    assert field.counts == (0,) and (field.labels == 1).sum() > 4


def test_a_structure_that_only_some_cases_assess_is_refused(tmp_path, discs):
    cases = read_records(discs, Case)
    assert cases[1].reference is not None
    cases[1] = cases[1].model_copy(update={"reference": Reference(findings=cases[1].reference.findings[:1])})
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for case in cases[:2]:
            build.adopt(case.images[0], discs)
        for path in {f.region.mask for case in cases[:2] for f in case.reference.findings}:
            build.add_image(discs / path)
        build.commit("all", cases[:2])
    with pytest.raises(DataError, match="which other cases have"):
        load_targets(tmp_path / "cases", limit=64)


def test_regions_without_pixels_for_absent_structures_are_fine(disc_boxes):
    data = load_targets(disc_boxes, limit=64)
    absent = [field for field in data.fields if field.counts[1] == 0]
    assert absent and all((field.labels != 2).all() for field in absent)
    assert Region(boxes=()).mask is None
