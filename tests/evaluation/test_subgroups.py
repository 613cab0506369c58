import numpy as np
import pytest

from vlmalign.evaluation.subgroups import label_of, subgroup_differences, subgroup_table
from vlmalign.records import Case, ImageRef, user
from vlmalign.records.case import Attributes


def test_a_gap_of_separate_patients_joins_both_intervals():
    values, labels = [1, 0, 1, 1] * 5 + [0, 0, 1, 0] * 5, ["f"] * 20 + ["m"] * 20
    table = subgroup_table("sex", values, labels, range(40))
    f, m = table.subgroups["f"], table.subgroups["m"]
    assert f.gap.mean == pytest.approx(0.5) and f.state == "compared"
    below = ((f.figure.mean - f.figure.low) ** 2 + (m.figure.high - m.figure.mean) ** 2) ** 0.5
    assert f.gap.low == pytest.approx(0.5 - below)
    assert (m.gap.mean, m.gap.low, m.gap.high) == pytest.approx((-0.5, -f.gap.high, -f.gap.low))


def test_two_eyes_of_a_patient_are_compared_within_the_patient():
    rng = np.random.default_rng(0)
    patient = rng.normal(0, 1, 20)
    values = np.concatenate([patient + 0.2, patient]) + rng.normal(0, 0.01, 40)
    labels, groups = ["left"] * 20 + ["right"] * 20, [*range(20), *range(20)]
    gap = subgroup_table("laterality", values.tolist(), labels, groups, proportion=False).subgroups["left"].gap
    assert 0.19 < gap.low < gap.high < 0.21
    assert gap.n_groups == 20


def test_an_empty_subgroup_is_a_state_and_untold_items_are_counted():
    table = subgroup_table("sex", [1, 0, None], ["f", None, "m"], list("abc"), expected=["f", "m", "other"])
    states = {name: found.state for name, found in table.subgroups.items()}
    assert states == {"f": "no other subgroup", "m": "nothing scored", "other": "empty subgroup"}
    assert table.not_told == 1
    assert table.subgroups["other"].figure.mean is None and table.subgroups["other"].gap.mean is None


def test_a_difference_between_models_that_never_differ_in_a_subgroup_is_not_known_to_be_none():
    a = [1, 0] * 20
    found = subgroup_differences("site", a, a, ["x"] * 20 + ["y"] * 20, range(40)).subgroups["x"]
    assert found.figure.low < 0 < found.figure.high
    assert found.gap.low < -0.1 and found.gap.high > 0.1


def test_gaps_cover_at_the_stated_rate():
    def holds(k):
        rng = np.random.default_rng(k)
        chance = np.repeat([0.7, 0.5], 24)[:, None] + rng.uniform(-0.2, 0.2, (48, 1))
        values = (rng.random((48, 3)) < chance).astype(float)
        labels, groups = np.repeat(["a", "b"], 72).tolist(), np.repeat(np.arange(48), 3).tolist()
        gap = subgroup_table("site", values.ravel().tolist(), labels, groups).subgroups["a"].gap
        return gap.low <= 0.2 <= gap.high

    assert 0.91 <= np.mean([holds(k) for k in range(300)]) <= 0.99


def test_the_subgroup_of_a_case_is_read_from_its_attributes_and_images():
    images = [ImageRef(path=f"images/{side}.png", sha256="0" * 64, laterality=side) for side in ("left", "right")]
    case = Case(id="c", images=images, messages=(user("?", images=2),), domain="d", group_id="g",
                group_kind="patient", attributes=Attributes(sex="f"))  # fmt: skip
    assert [label_of(case, name) for name in ("sex", "age_band", "laterality")] == ["f", None, "several"]
    with pytest.raises(ValueError, match="choose from sex"):
        label_of(case, "height")


@pytest.fixture
def eyes():
    """Labels and patients of the two eyes of 12 patients."""
    return ["left"] * 12 + ["right"] * 12, [*range(12), *range(12)]


def test_the_gap_within_patients_is_that_of_the_two_means_and_wrong_answers_count(eyes):
    values = [1, 0, 0.8, None] * 3 + [0.2, 0.2, 0.6, 0.2] * 3
    left = subgroup_table("laterality", values, *eyes).subgroups["left"]
    assert left.figure.mean == pytest.approx(0.6) and left.gap.mean == pytest.approx(0.6 - 0.3)
    assert (left.gap.n, left.gap.excluded) == (21, 3) and left.gap.method == "t, 11 df, over 12 groups"


def test_eyes_that_are_all_right_are_not_known_to_be_equal(eyes):
    gap = subgroup_table("laterality", [1] * 24, *eyes).subgroups["left"].gap
    assert gap.mean == 0 and gap.high == -gap.low == pytest.approx(1 - 0.025 ** (1 / 12)) and gap.n_groups == 12


def test_what_is_excluded_on_either_side_of_a_gap_is_counted():
    gap = subgroup_table("sex", [1, None, 0, None, 1], list("ffmmm"), range(5)).subgroups["f"].gap
    assert (gap.n, gap.excluded) == (3, 2)
