"""Measurements that need other answers, totals, or several images before they mean anything."""

import pytest

from vlmalign.clinical import answers_from_findings, load_logic
from vlmalign.records import DataError, Finding, ImageRef


def number(concept, value, image=0, expert="cells@1", **fields):
    ref = ImageRef(path=f"images/{image}.png", sha256=f"{image:064x}")
    fields.setdefault("status", "present")
    return Finding(id=f"{concept}-{image}", image=ref, concept=concept, value=value, expert=expert, **fields)


@pytest.fixture
def sharp_only(smear_yaml, write_logic):
    smear_yaml["concepts"]["crowding"]["measurement"]["needs"] = {"focus": "sharp", "stain": ["normal", "dark"]}
    return load_logic(write_logic(smear_yaml))


def test_a_measurement_counts_only_where_what_it_needs_holds(sharp_only):
    cover = number("red_cell_cover", 0.6)
    good = answers_from_findings(sharp_only, [cover, number("focus", "sharp"), number("stain", "dark")])
    assert good.answers["crowding"] == "crowded" and good.not_assessed == {}
    bad = answers_from_findings(sharp_only, [cover, number("focus", "sharp"), number("stain", "pale")])
    assert "crowding" not in bad.answers and "crowding" not in bad.uncertain
    assert bad.not_assessed["crowding"].endswith("focus is sharp, stain is pale")


def test_what_is_not_known_does_not_hold(sharp_only):
    found = answers_from_findings(sharp_only, [number("red_cell_cover", 0.6), number("focus", "sharp")])
    assert found.not_assessed["crowding"].endswith("stain is not known")
    doubtful = number("stain", "normal", probability=0.6)
    found = answers_from_findings(sharp_only, [number("red_cell_cover", 0.6), number("focus", "sharp"), doubtful])
    assert list(found.not_assessed) == ["crowding"] and "stain" in found.uncertain


def test_a_category_speaks_where_the_measurement_may_not(sharp_only):
    found = answers_from_findings(sharp_only, [number("red_cell_cover", 0.6), number("crowding", "sparse")])
    assert found.answers["crowding"] == "sparse" and found.not_assessed == {}


def test_findings_that_nobody_assessed_are_told_with_their_expert(smear):
    found = answers_from_findings(smear, [number("leukocyte", None, status="not_assessed")])
    assert found.not_assessed == {"leukocyte": "cells@1 did not assess leukocyte"}
    both = [number("leukocyte", None, status="not_assessed"), number("leukocyte_count", 2.0)]
    assert answers_from_findings(smear, both).not_assessed == {}


@pytest.fixture
def ten_fields(smear_yaml, write_logic):
    smear_yaml["concepts"]["platelets"]["measurement"] |= {"min_images": 10}
    return load_logic(write_logic(smear_yaml))


def test_a_mean_needs_its_number_of_distinct_images(ten_fields):
    nine = [number("platelet_count", 5.0, image) for image in range(9)]
    found = answers_from_findings(ten_fields, nine)
    assert "platelets" not in found.answers
    assert found.not_assessed["platelets"] == "cells@1 gives platelet_count of 9 images, and 10 are needed"
    assert (
        answers_from_findings(ten_fields, [*nine, number("platelet_count", 5.0, 9)]).answers["platelets"] == "many"
    )
    with pytest.raises(DataError, match="measures platelet_count twice in one image"):
        answers_from_findings(ten_fields, [*nine, number("platelet_count", 5.0, 8)])


def test_a_mean_is_as_unsure_as_its_images_differ(ten_fields):
    # mean 3.0 of nine 2 and one 12; s = 3.1623, s / sqrt(10) = 1: half of the mass lies above 3
    values = [2.0] * 9 + [12.0]
    found = answers_from_findings(ten_fields, [number("platelet_count", v, i) for i, v in enumerate(values)])
    assert found.probabilities["platelets"]["many"] == pytest.approx(0.5)
    assert found.probabilities["platelets"]["none"] == pytest.approx(0.0228, abs=1e-4)  # below 1: Phi(-2)
    # mean 4 of nine 4.5 at 0.1 and one -0.5 ... without spread the experts' own deviations count: 2 / sqrt(10)
    same = [number("platelet_count", 4.0, i, std=2.0) for i in range(10)]
    found = answers_from_findings(ten_fields, same)
    assert found.probabilities["platelets"]["many"] == pytest.approx(0.9431, abs=1e-4)  # Phi(1 / 0.63246)


@pytest.fixture
def share(smear_yaml, write_logic):
    smear_yaml["concepts"]["crowding"]["measurement"] |= {"name": "red_cells", "of": "cells"}
    return load_logic(write_logic(smear_yaml))


def test_a_share_is_counted_over_all_images_and_has_its_interval(share):
    counts = [(10, 50), (35, 50)]
    findings = [number("red_cells", float(k), i) for i, (k, _) in enumerate(counts)]
    findings += [number("cells", float(n), i) for i, (_, n) in enumerate(counts)]
    found = answers_from_findings(share, findings)
    assert (found.shares["crowding"].count, found.shares["crowding"].total) == (45, 100)
    assert found.answers["crowding"] == "crowded" and found.unused == ()
    assert found.probabilities["crowding"]["crowded"] == pytest.approx(
        0.846, abs=1e-3
    )  # I(0.4; 45.5, 55.5) = 0.154


def test_a_share_without_a_total_is_not_assessed(share):
    found = answers_from_findings(share, [number("red_cells", 4.0)])
    assert found.not_assessed["crowding"] == "cells@1 gives no cells for an image in which it counts red_cells"
    found = answers_from_findings(share, [number("red_cells", 0.0), number("cells", 0.0)])
    assert found.not_assessed["crowding"] == "cells@1 counts no cells, so there is no share of them"
    other = [number("red_cells", 4.0), number("cells", 9.0, expert="other@1")]
    assert "crowding" in answers_from_findings(share, other).not_assessed


def test_more_than_all_is_refused(share):
    with pytest.raises(DataError, match="red_cells is 9 of 4 cells, expected 0 to 4"):
        answers_from_findings(share, [number("red_cells", 9.0), number("cells", 4.0)])


@pytest.mark.parametrize(
    ("more", "field", "rule"),
    [
        ({"needs": {"crowding": "sparse"}}, "needs", "'crowding' needs itself"),
        ({"needs": {"impression": "thick_area"}}, "needs", "'crowding' needs itself"),  # which follows from it
        ({"needs": {"heart": "big"}}, "needs.heart", "unknown concept 'heart'"),
        ({"of": "red_cell_cover"}, "of", "is counted of itself"),
        ({"of": "cells", "unit": "%"}, "", "a share has the unit '1'"),
        ({"of": "cells", "min_images": 3}, "", "a share has the unit '1'"),
    ],
)
def test_measurements_that_contradict_themselves_are_refused(smear_yaml, write_logic, more, field, rule):
    smear_yaml["concepts"]["crowding"]["measurement"] |= more
    with pytest.raises(DataError, match=rule) as error:
        load_logic(write_logic(smear_yaml))
    assert error.value.field == f"concepts.crowding.measurement.{field}".rstrip(".")
