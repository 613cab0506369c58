import numpy as np
import pytest

from vlmalign.evaluation.risk_coverage import risk_coverage


def at(found, coverage):
    return next(risk for c, risk in found.points if c == coverage)


def test_the_curve_and_its_area_by_hand():
    found = risk_coverage([0.3, 0.1, 0.2, 0.4], [0, 0, 1, 1], list("abcd"), coverages=[0.25, 0.5, 0.75, 1.0])
    assert [risk.mean for _, risk in found.points] == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert found.area.mean == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert [risk.n for _, risk in found.points] == [1, 2, 3, 4]


def test_equal_uncertainties_give_the_same_risk_at_every_coverage():
    found = risk_coverage([0.5] * 8, [1, 0] * 4, list("abcdefgh"))
    assert [risk.mean for _, risk in found.points] == pytest.approx([0.5] * 10)
    assert found.area.mean == pytest.approx(0.5)


def test_an_uncertainty_that_finds_errors_has_a_smaller_area():
    rng = np.random.default_rng(0)
    uncertainty = rng.random(300)
    wrong, groups = (rng.random(300) < uncertainty**2).astype(float), [f"g{i // 3}" for i in range(300)]
    good, none = risk_coverage(uncertainty, wrong, groups), risk_coverage(rng.random(300), wrong, groups)
    assert good.area.high < none.area.low
    assert at(good, 1.0).mean == pytest.approx(wrong.mean()) == at(none, 1.0).mean
    assert at(good, 0.3).mean < at(good, 0.7).mean < at(good, 1.0).mean


def test_no_error_among_the_kept_still_has_an_interval_from_their_groups():
    uncertainty = np.linspace(0, 1, 40)
    found = at(risk_coverage(uncertainty, (uncertainty > 0.6).astype(float), list(range(40))), 0.5)
    assert (found.mean, found.low) == (0, 0) and found.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert (found.n, found.n_groups, found.excluded) == (20, 20, 20)


def test_a_coverage_of_nothing_is_refused():
    with pytest.raises(ValueError, match="each must lie in"):
        risk_coverage([0.1], [0], ["a"], coverages=[0.0])
