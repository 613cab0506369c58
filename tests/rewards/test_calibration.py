import numpy as np
import pytest
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from vlmalign.rewards.calibration import METHODS, Isotonic, Platt, Temperature, VennAbers, smoothed
from vlmalign.rewards.calibration_items import ScoredItems


def pairs(n=300, slope=0.5, seed=0, stds=None, ask=None):
    """Margins whose better answer is the first with probability sigmoid(slope * margin)."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(0, 3, n).round(1)
    p = expit(slope * margins) if ask is None else ask(margins)
    labels = (rng.random(n) < p).astype(float)
    return ScoredItems.of("pair", margins, labels, [f"g{i}" for i in range(n)], stds=stds)


@pytest.mark.parametrize("method", METHODS)
def test_swapping_the_answers_of_a_pair_turns_the_probability_around(method):
    fitted = METHODS[method].fit(pairs(60))
    margins = np.array([0.0, 0.05, 0.7, 3.0, 99.0])
    there, back = fitted.predict(margins), fitted.predict(-margins)
    assert there.p + back.p == pytest.approx(np.ones(5), abs=1e-12)
    assert there.p0 == pytest.approx(1 - back.p1, abs=1e-12)
    assert there.p[0] == pytest.approx(0.5)
    assert (np.diff(there.p) >= -1e-12).all() and (there.p0 <= there.p).all() and (there.p <= there.p1).all()


def test_the_order_in_which_pairs_are_given_does_not_matter():
    items = pairs(80)
    swapped = ScoredItems.of("pair", -items.scores, 1 - items.labels, items.groups)
    for method in METHODS.values():
        assert method.fit(items).predict([0.3, 2.0]).p == pytest.approx(method.fit(swapped).predict([0.3, 2.0]).p)


def test_temperature_and_platt_find_the_slope_and_are_the_same_on_pairs():
    items = pairs(20_000)
    temperature, platt = Temperature.fit(items), Platt.fit(items)
    assert temperature.slope == pytest.approx(0.5, rel=0.05)
    assert platt.slope == pytest.approx(temperature.slope, rel=1e-4) and platt.intercept == 0


def test_platt_of_answers_has_an_intercept():
    rng = np.random.default_rng(1)
    scores = rng.normal(5, 2, 20_000)
    labels = (rng.random(20_000) < expit(1.5 * scores - 6)).astype(float)
    fitted = Platt.fit(ScoredItems.of("answer", scores, labels, [str(i) for i in range(20_000)]))
    assert (fitted.slope, fitted.intercept) == pytest.approx((1.5, -6), rel=0.06)


def test_platt_learns_how_much_the_standard_deviation_of_a_margin_counts():
    stds = np.random.default_rng(2).exponential(2.0, 20_000)
    items = pairs(20_000, stds=stds, ask=lambda m: expit(1.2 * m / np.sqrt(1 + 0.7 * stds**2)))
    fitted = Platt.fit(items)
    assert fitted.uses_std and (fitted.slope, fitted.std_weight) == pytest.approx((1.2, 0.7), rel=0.12)
    sure, unsure = fitted.predict([2.0, 2.0], [0.1, 5.0]).p
    assert sure > unsure > 0.5
    with pytest.raises(ValueError, match="one is not known"):
        fitted.predict([2.0], [np.nan])


def test_a_margins_standard_deviation_shrinks_it_as_mackay_says():
    fitted = Platt(slope=0.5, std_weight=2.0, uses_std=True)
    assert fitted.predict([6.0, 6.0], [2.0, 0.0]).p == pytest.approx(expit([3 / 3, 3]))  # 1 + 2 * 2^2 = 3^2


def test_platts_targets_stay_away_from_0_and_1():
    assert smoothed(np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx([4 / 5, 4 / 5, 4 / 5, 1 / 3])


def test_margins_that_are_all_right_give_a_finite_temperature():
    items = ScoredItems.of("pair", [1.0, 2.0, 0.5], [1, 1, 1], ["a", "b", "c"])
    assert 0.5 < Temperature.fit(items).predict([2.0]).p[0] < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_reward_that_prefers_the_wrong_answer_gets_one_half_and_is_never_turned_around(method):
    wrong = ScoredItems.of("pair", [1.0, 2.0, 3.0], [0, 0, 0], ["a", "b", "c"])
    p = METHODS[method].fit(wrong).predict([3.0, -3.0]).p
    assert p == pytest.approx([0.5, 0.5], abs=1e-6 if method != "venn_abers" else 0.1)
    assert p[0] >= p[1] - 1e-12


def test_isotonic_pools_what_violates_the_order():
    items = ScoredItems.of("answer", [1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], list("abcd"))
    assert Isotonic.fit(items).predict([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]).p.tolist() == [0, 0, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize("target", ["answer", "pair"])
def test_venn_abers_is_its_definition_two_isotonic_fits_with_the_item_added(target):
    items = pairs(40)
    items = ScoredItems.of(target, items.scores, items.labels, items.groups)
    fitted = VennAbers.fit(items)
    for score in (-20.0, items.scores[0], 0.0, 0.123, 20.0):
        for label, got in ((0, fitted.predict([score]).p0[0]), (1, fitted.predict([score]).p1[0])):
            x, y = np.append(items.scores, score), np.append(items.labels, label)
            if target == "pair":
                x, y = np.append(x, -x), np.append(y, 1 - y)
            assert got == pytest.approx(IsotonicRegression().fit(x, y).predict([score])[0])


def test_the_one_number_of_venn_abers_is_p1_over_1_less_p0_plus_p1():
    found = VennAbers.fit(ScoredItems.of("answer", [0.0, 1.0], [0, 1], ["a", "b"])).predict([1.0])
    assert (found.p0[0], found.p1[0]) == (0.5, 1.0) and found.p[0] == pytest.approx(2 / 3)


def test_the_venn_abers_interval_narrows_with_more_data():
    few, many = (VennAbers.fit(pairs(n)).predict([1.0]) for n in (20, 2000))
    assert (many.p1 - many.p0)[0] < 0.5 * (few.p1 - few.p0)[0]
    assert many.p[0] == pytest.approx(expit(0.5), abs=0.08)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("target", "scores", "labels", "groups", "message"),
    [
        ("pair", [0.5], [1], ["a"], "1 items of 1 group: a calibration needs 2 groups"),
        ("pair", [0.5, 1.0], [1, 1], ["a", "a"], "2 items of 1 group"),
        ("pair", [0.0, 0.0], [1, 1], ["a", "b"], "all 2 pairs are ties"),
        ("answer", [0.5, 1.0], [1, 1], ["a", "b"], "all 2 answers are right"),
        ("answer", [0.5, 1.0], [0, 0], ["a", "b"], "all 2 answers are wrong"),
        ("answer", [0.5, 0.5], [0, 1], ["a", "b"], "all 2 answers score 0.5"),
    ],
)
def test_data_to_which_nothing_can_be_fitted_are_refused(method, target, scores, labels, groups, message):
    with pytest.raises(ValueError, match=message):
        METHODS[method].fit(ScoredItems.of(target, scores, labels, groups))
