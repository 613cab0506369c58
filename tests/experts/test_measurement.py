import numpy as np
import pytest

from experts.measurement import Pieces, Scale, count, fit_scale, measure, pieces


def disc(size, *circles):
    y, x = np.mgrid[:size, :size] + 0.5
    mask = np.zeros((size, size), dtype=bool)
    for cx, cy, r in circles:
        mask |= np.hypot(x - cx, y - cy) < r
    return mask


def count_cells(mask, scale):
    return measure(mask, scale)[0]


def test_cover_is_the_share_of_pixels_without_specks_inside():
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:5, 2:6] = True  # 12 pixels
    mask[7, 7] = True  # a speck
    mask[0, 9] = True  # the sliver of a cell at the border
    assert measure(mask, Scale(typical_area=12, min_area=6, border_share=0.35)) == (1, 0.13)


def test_an_empty_mask_has_no_pieces_and_no_cells():
    empty = np.zeros((6, 6), dtype=bool)
    assert pieces(empty).areas.size == 0
    assert pieces(empty, radius=2.0, split=0.6).areas.size == 0
    assert count_cells(empty, Scale(typical_area=9, min_area=1)) == 0


def test_diagonal_neighbours_are_one_piece():
    mask = np.eye(3, dtype=bool)
    assert pieces(mask).areas.tolist() == [3]


def test_a_piece_smaller_than_the_minimum_is_not_counted():
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:5, 2:5] = True  # 9 pixels
    mask[7, 7] = True
    assert count_cells(mask, Scale(typical_area=9, min_area=0)) == 2
    assert count_cells(mask, Scale(typical_area=9, min_area=4)) == 1


def test_a_cut_cell_counts_from_its_share_of_a_typical_cell_on():
    found = Pieces(np.array([34, 36, 36]), np.array([True, True, False]))
    scale = Scale(typical_area=100, min_area=50, border_share=0.35)
    assert count(found, scale) == 1  # a cut 34 is too small, a cut 36 is not, a whole 36 is


def test_two_overlapping_discs_are_two_cells_with_the_whole_area_between_them():
    mask = disc(40, (13, 20, 7), (25, 20, 7))  # centres 12 apart, neck half-width 3.6 of radius 7
    assert len(pieces(mask).areas) == 1
    found = pieces(mask, radius=7.0, split=0.65)
    assert len(found.areas) == 2
    assert found.areas.sum() == mask.sum()
    assert abs(int(found.areas[0]) - int(found.areas[1])) <= 0.1 * mask.sum()


def test_a_single_disc_and_a_long_ellipse_are_not_split():
    y, x = np.mgrid[:40, :40] + 0.5
    ellipse = ((x - 20) / 12) ** 2 + ((y - 20) / 7) ** 2 < 1
    for mask in (disc(40, (20, 20, 7)), ellipse):
        assert len(pieces(mask, radius=7.0, split=0.65).areas) == 1


def test_a_cell_cut_by_the_border_keeps_its_core():
    mask = disc(30, (1.0, 15, 7))  # a little less than half of it is outside
    found = pieces(mask, radius=7.0, split=0.65)
    assert found.areas.tolist() == [mask.sum()]
    assert found.at_border.tolist() == [True]


def test_a_component_without_a_core_is_one_cell():
    mask = disc(40, (12, 12, 7), (30, 30, 3))
    assert len(pieces(mask, radius=7.0, split=0.65).areas) == 2


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_counting_does_not_depend_on_how_the_image_is_turned(turns):
    mask = disc(60, (13, 20, 7), (25, 20, 7), (44, 44, 7), (59, 10, 7))
    scale = Scale(typical_area=154, min_area=60, border_share=0.35, split=0.65)
    assert count_cells(np.rot90(mask, turns), scale) == count_cells(mask, scale) == 4


def test_sizes_are_learnt_from_the_masks():
    masks = [disc(40, (12, 12, r), (30, 30, r)) for r in (4.0, 5.0, 6.0)]
    scale = fit_scale(masks, [2, 2, 2])
    areas = sorted(pieces(disc(40, (12, 12, r))).areas[0] for r in (4.0, 5.0, 6.0))
    assert scale.typical_area == areas[1]
    assert areas[0] / 2 <= scale.min_area < areas[1] / 2
    assert scale.split == 0  # nothing touches, so nothing is split


def test_splitting_is_learnt_where_cells_touch():
    masks = [disc(40, (13, 20, 7), (25, 20, 7)), disc(40, (20, 20, 7))] * 4
    scale = fit_scale(masks, [2, 1] * 4)
    assert scale.split > 0
    assert [count_cells(mask, scale) for mask in masks[:2]] == [2, 1]


def test_a_structure_that_no_mask_shows_cannot_be_learnt():
    with pytest.raises(ValueError, match="no mask has any pixel"):
        fit_scale([np.zeros((4, 4), dtype=bool)], [0])
