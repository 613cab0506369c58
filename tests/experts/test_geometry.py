import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experts.geometry import (
    Quantity,
    Undefined,
    area,
    cardiothoracic_ratio,
    centroid_distance,
    count_holes,
    extent,
    fill_holes,
    gap,
    largest_component,
    overlap,
    ratio,
    vertical_cup_disc_ratio,
)
from experts.sides import patient_side, retinal_side, side_in_image

DATA = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "chase_db1"


def box(shape, rows, columns):
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


EMPTY = np.zeros((20, 30), dtype=bool)


def test_every_number_of_an_empty_mask_is_undefined_and_none_is_zero():
    full = ~EMPTY
    for found in (
        area(EMPTY), extent(EMPTY, "vertical"), gap(EMPTY, full), centroid_distance(full, EMPTY),
        vertical_cup_disc_ratio(EMPTY, full), vertical_cup_disc_ratio(full, EMPTY),
        cardiothoracic_ratio(EMPTY, full), cardiothoracic_ratio(full, EMPTY), side_in_image(EMPTY),
    ):  # fmt: skip
        assert isinstance(found, Undefined) and "empty" in found.why


def test_overlap_of_one_empty_mask_is_zero_with_its_state_and_of_two_is_no_number():
    some = box((20, 30), (0, 2), (0, 2))
    assert overlap(EMPTY, some) == (0.0, 0.0, "first_empty")
    assert overlap(some, EMPTY) == (0.0, 0.0, "second_empty")
    assert overlap(EMPTY, EMPTY) == (None, None, "both_empty")


def test_spacing_of_rows_and_columns_is_not_exchanged():
    mask = box((20, 30), (2, 6), (3, 13))  # 4 rows, 10 columns
    assert extent(mask, "vertical", (0.5, 0.1)) == Quantity(2.0, "mm")
    assert extent(mask, "horizontal", (0.5, 0.1)) == (pytest.approx(1.0), "mm")
    assert area(mask, (0.5, 0.1)) == (pytest.approx(2.0), "mm2")


def test_millimetres_are_never_divided_by_pixels():
    mask = box((20, 30), (2, 6), (3, 13))
    with pytest.raises(ValueError, match="mm cannot be divided by one in px"):
        ratio(extent(mask, "vertical", (0.5, 0.5)), extent(mask, "vertical"))


def test_specks_and_holes_do_not_change_the_cup_to_disc_ratio():
    disc, cup = box((40, 40), (5, 35), (5, 35)), box((40, 40), (10, 22), (12, 20))
    assert vertical_cup_disc_ratio(cup, disc).value == pytest.approx(12 / 30)
    speckled = disc | box((40, 40), (38, 39), (0, 1))
    assert vertical_cup_disc_ratio(cup, speckled & ~cup).value == pytest.approx(12 / 30)  # rim only, and a speck


def test_the_ratio_is_that_of_vertical_diameters_whatever_the_width():
    disc, wide = box((40, 40), (5, 35), (5, 35)), box((40, 40), (10, 16), (6, 34))
    assert vertical_cup_disc_ratio(wide, disc).value == pytest.approx(6 / 30)


def test_a_cup_beside_its_disc_is_undefined():
    disc, cup = box((40, 40), (5, 20), (5, 20)), box((40, 40), (18, 30), (5, 20))
    assert "outside the disc" in vertical_cup_disc_ratio(cup, disc).why


def test_cardiothoracic_ratio_by_hand():
    # heart: columns 12..17 at row 10 and 15..21 at row 14: extent 10; lungs: widest row from 2 to 27, 26 columns
    heart = box((20, 30), (10, 13), (12, 18)) | box((20, 30), (12, 16), (15, 22))
    lungs = box((20, 30), (4, 16), (4, 11)) | box((20, 30), (4, 16), (22, 26))
    lungs |= box((20, 30), (14, 15), (2, 11)) | box((20, 30), (14, 15), (22, 28))
    assert cardiothoracic_ratio(heart, lungs).value == pytest.approx(10 / 26)


def test_the_thorax_is_read_at_one_height_only():
    heart = box((20, 30), (8, 12), (12, 18))
    low, high = box((20, 30), (10, 12), (2, 10)), box((20, 30), (2, 4), (20, 28))  # one lung above the other
    assert cardiothoracic_ratio(heart, low | high) == Undefined("no row crosses both lungs")
    assert "one side" in cardiothoracic_ratio(heart, low).why


def test_a_heart_wider_than_the_thorax_is_undefined():
    heart = box((20, 30), (8, 12), (2, 28))
    lungs = box((20, 30), (8, 12), (10, 13)) | box((20, 30), (8, 12), (17, 20))
    assert "as wide as the thorax" in cardiothoracic_ratio(heart, lungs).why


def test_mirroring_keeps_ratios_and_exchanges_sides():
    heart = box((20, 30), (8, 12), (12, 20))
    lungs = box((20, 30), (4, 16), (4, 11)) | box((20, 30), (4, 16), (21, 26))
    assert cardiothoracic_ratio(heart[:, ::-1], lungs[:, ::-1]) == cardiothoracic_ratio(heart, lungs)
    mark = box((20, 30), (4, 6), (1, 5))
    assert (side_in_image(mark), side_in_image(mark[:, ::-1])) == ("left", "right")
    assert (patient_side(mark, "facing"), patient_side(mark, "as_seen")) == ("right", "left")
    assert retinal_side(mark, "right") == retinal_side(mark[:, ::-1], "left") == "temporal"


def test_gap_of_touching_masks_and_anisotropic_pixels():
    a, b = box((10, 10), (0, 2), (0, 2)), box((10, 10), (5, 6), (5, 6))
    assert gap(a, b) == (pytest.approx(np.hypot(4, 4)), "px")  # from (1, 1) to (5, 5)
    assert gap(a, b, (3.0, 0.0 + 1.0)) == (pytest.approx(np.hypot(12, 4)), "mm")
    assert gap(a, box((10, 10), (1, 3), (1, 3))).value == 0.0


def test_components_and_holes():
    ring = box((9, 9), (1, 6), (1, 6)) & ~box((9, 9), (3, 4), (3, 4))
    mask = ring | box((9, 9), (7, 8), (7, 8))
    assert count_holes(mask) == 1 and fill_holes(mask).sum() == mask.sum() + 1
    assert largest_component(mask).sum() == ring.sum()


def test_masks_of_two_images_are_refused():
    with pytest.raises(ValueError, match="both must be of one image"):
        overlap(EMPTY, EMPTY.T)


@pytest.mark.skipif(not DATA.is_dir(), reason="CHASE_DB1 is absent (VLMALIGN_DATA)")
def test_two_observers_of_chase_db1_agree_to_a_mean_dice_of_0_777():
    first, second = (
        [np.asarray(Image.open(file).convert("L")) > 0 for file in sorted((DATA / who).iterdir())]
        for who in ("observer1", "observer2")
    )
    found = [overlap(one, other) for one, other in zip(first, second, strict=True)]
    assert len(found) == 28
    assert np.mean([one.dice for one in found]) == pytest.approx(0.777, abs=5e-4)
