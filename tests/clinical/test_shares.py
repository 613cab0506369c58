import pytest

from vlmalign.clinical.rules import Band
from vlmalign.clinical.shares import Share

BLASTS = (Band(value="below", below=0.2), Band(value="reached"))


def test_wilson_interval_is_the_one_worked_by_hand():
    # k = 20 of n = 100, z^2 = 3.84146: middle (0.2 + 0.0192073) / 1.0384146 = 0.21110;
    # half 1.959964 * sqrt(0.0016 + 0.000096036) / 1.0384146 = 0.07773
    assert Share(20, 100).wilson() == pytest.approx((0.13337, 0.28883), abs=1e-5)
    # none of ten: 0 to z^2 / (n + z^2)
    assert Share(0, 10).wilson() == pytest.approx((0.0, 3.84146 / 13.84146), abs=1e-5)


def test_wilson_interval_mirrors_and_narrows_with_the_count():
    low, high = Share(30, 200).wilson()
    assert Share(170, 200).wilson() == pytest.approx((1 - high, 1 - low))
    wider = Share(3, 20).wilson()
    assert wider[0] < low and high < wider[1]


def test_band_probabilities_follow_the_beta_posterior():
    # k = 0 of n = 1: Beta(1/2, 3/2) has the distribution (2/pi) (arcsin sqrt x + sqrt(x (1 - x))); at 0.2
    # 0.63662 * (0.463648 + 0.4) = 0.54982
    assert Share(0, 1).band_probabilities(BLASTS)["below"] == pytest.approx(0.54982, abs=1e-5)
    # at the threshold itself the two bands are nearly even, and the doubt shrinks with the count
    assert Share(20, 100).band_probabilities(BLASTS)["reached"] == pytest.approx(0.5, abs=0.03)
    assert (
        Share(250, 1000).band_probabilities(BLASTS)["reached"]
        > Share(25, 100).band_probabilities(BLASTS)["reached"]
    )


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (7, 30), (2.5, 9.5), (500, 500)])
def test_band_probabilities_of_a_share_sum_to_one(count, total):
    bands = (Band(value="a", below=0.05), Band(value="b", below=0.2), Band(value="c"))
    masses = Share(count, total).band_probabilities(bands)
    assert sum(masses.values()) == pytest.approx(1.0) and min(masses.values()) >= 0


@pytest.mark.parametrize(("count", "total"), [(0, 0), (5, 4), (-1, 4)])
def test_a_share_of_nothing_and_of_more_than_all_is_refused(count, total):
    with pytest.raises(ValueError, match="expected 0 to all of a positive total"):
        Share(count, total)


def test_bands_of_one_value_on_both_sides_add_up():
    bands = (Band(value="abnormal", below=0.2), Band(value="normal", below=0.6), Band(value="abnormal"))
    masses = Share(10, 50).band_probabilities(bands)
    assert sum(masses.values()) == pytest.approx(1.0) and masses["abnormal"] == pytest.approx(0.5, abs=0.03)
