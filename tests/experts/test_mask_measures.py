import numpy as np
import pytest

from experts.geometry import Quantity, Undefined
from experts.mask_measures import MaskMeasure, check_measures, measure_members, measure_one
from experts.protocol import Measured
from experts.running import status_of
from experts.uncertainty import summarise_quantities

RATIO = MaskMeasure(concept="vcdr", kind="vertical_cup_disc_ratio", of="cup", to="cup+rim")


def eye(cup: int, disc: int = 20) -> np.ndarray:
    """Labels 1 cup, 2 rim of a round-ish disc `disc` rows high with a cup `cup` rows high."""
    labels = np.zeros((32, 32), dtype=np.uint8)
    labels[4 : 4 + disc, 6:26] = 2
    labels[6 : 6 + cup, 10:20] = 1
    return labels


def measured(members, *measures, spacing=None):
    return measure_members(members, ("cup", "rim"), measures, spacing)


def test_the_spread_of_a_ratio_is_that_of_the_members_ratios():
    found, _, undefined = measured([eye(8), eye(12)], RATIO)
    assert found["vcdr"] == Measured(0.5, 0.1, 1.0, "1") and undefined == {}


def test_members_that_do_not_see_the_cup_lower_the_probability_and_never_the_ratio():
    found, _, _ = measured([eye(8), eye(8), eye(0)], RATIO)
    assert found["vcdr"].value == pytest.approx(0.4) and found["vcdr"].probability == pytest.approx(
        2 / 3, abs=1e-6
    )
    assert status_of(found["vcdr"]) == "uncertain"
    found, _, undefined = measured([eye(8), eye(0), eye(0)], RATIO)
    assert found == {} and undefined["vcdr"] == "only 1 of 3 members can measure it (the cup mask is empty)"


def test_lengths_are_in_millimetres_where_the_spacing_is_known_and_say_so_where_it_is_not():
    height = MaskMeasure(concept="height", kind="vertical_extent", of="cup+rim")
    area = MaskMeasure(concept="area", kind="area", of="cup")
    known, _, _ = measured([eye(8)], height, area, spacing=(0.1, 0.2))
    unknown, _, _ = measured([eye(8)], height, area)
    assert known["height"] == Measured(2.0, 0.0, 1.0, "mm") and known["area"] == Measured(1.6, 0.0, 1.0, "mm2")
    assert unknown["height"] == Measured(20.0, 0.0, 1.0, "px") and unknown["area"] == Measured(
        80.0, 0.0, 1.0, "px2"
    )


def test_presence_is_the_share_of_members_that_see_it_and_small_specks_are_no_cup():
    seen = MaskMeasure(concept="cup", kind="presence", of="cup", min_area=50)
    _, presences, _ = measured([eye(8), eye(4), eye(0), eye(12)], seen)  # 80, 40, 0 and 120 pixels
    assert presences["cup"].probability == 0.5


def test_counts_holes_and_largest_parts():
    labels = np.zeros((10, 12), dtype=np.uint8)
    labels[1:6, 1:6] = 1
    labels[3, 3] = 0
    labels[8, 8] = labels[8, 11] = 1
    n = MaskMeasure(concept="n", kind="count", of="cup")
    assert measure_one(labels, ("cup",), n).value == 3
    assert measure_one(labels, ("cup",), n.model_copy(update={"min_area": 2})).value == 1
    area = MaskMeasure(concept="a", kind="area", of="cup", largest=True)
    assert measure_one(labels, ("cup",), area).value == 24
    assert measure_one(labels, ("cup",), area.model_copy(update={"fill": True})).value == 25
    share = MaskMeasure(concept="s", kind="share", of="cup")
    assert measured([np.zeros_like(labels)], share)[0]["s"] == Measured(0.0, 0.0)  # nothing covered is a number


def test_members_with_different_units_are_refused():
    with pytest.raises(ValueError, match="mm and px"):
        summarise_quantities([Quantity(1.0, "mm"), Quantity(1.0, "px")])
    assert summarise_quantities([Undefined("a"), Undefined("b"), Undefined("b")]) == Undefined("b")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"concept": "x", "kind": "gap", "of": "cup"}, "needs a second structure"),
        ({"concept": "x", "kind": "area", "of": "cup", "to": "rim"}, "drop `to`"),
        ({"concept": "x", "kind": "area", "of": "cup+fovea"}, "'fovea', which is not one of the structures"),
    ],
)
def test_measures_that_cannot_be_made_are_refused_beforehand(fields, message):
    with pytest.raises(ValueError, match=message):
        check_measures([MaskMeasure(**fields)], ("cup", "rim"))
    with pytest.raises(ValueError, match="measured twice"):
        check_measures([RATIO, RATIO], ("cup", "rim"))
