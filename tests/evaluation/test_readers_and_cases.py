import numpy as np
import pytest
from scipy import stats

from vlmalign.evaluation.reader_simulation import ReaderWorld, simulate_coverage
from vlmalign.evaluation.readers_and_cases import reader_figure, variance_components


def crossed(table):
    """Values, readers and cases of a table (readers, cases)."""
    table = np.asarray(table, dtype=float)
    i, j = table.shape
    return table.ravel().tolist(), np.repeat(np.arange(i), j).tolist(), np.tile(np.arange(j), i).tolist()


def test_ratings_of_two_readers_on_three_cases_by_hand():
    # reader means 2 and 4, case means 2, 3, 4, residuals 0: MS_readers 6, MS_cases 2, MS_rest 0
    # V = (6 + 2 - 0) / 6 = 4/3; df = 8^2 / (6^2 / 1 + 2^2 / 2) = 64 / 38
    found = reader_figure(*crossed([[1, 2, 3], [3, 4, 5]]), proportion=False)
    assert found.components == pytest.approx((2.0, 1.0, 0.0))
    assert found.df == pytest.approx(64 / 38)
    half = stats.t.ppf(0.975, 64 / 38) * (4 / 3) ** 0.5
    assert (found.new_readers.low, found.new_readers.high) == pytest.approx((3 - half, 3 + half))
    # these readers: case means 2, 3, 4, se 1 / sqrt(3), t(2) = 4.302653
    assert found.these_readers.high == pytest.approx(3 + 4.302653 / 3**0.5, abs=1e-5)


def test_degrees_of_freedom_with_a_rest_by_hand():
    # MS_readers .1875, MS_cases .1208333, MS_rest .0875: V = .2208333 / 12
    # df = .2208333^2 / (.1875^2 / 1 + .1208333^2 / 5 + .0875^2 / 5)
    found = reader_figure(*crossed([[1, 1, 1, 0.5, 1, 1], [1, 0.5, 1, 0.5, 1, 0]]), proportion=False)
    assert found.df == pytest.approx(1.231263, abs=1e-5)
    half = stats.t.ppf(0.975, found.df) * (0.2208333 / 12) ** 0.5
    assert found.new_readers.high - found.new_readers.mean == pytest.approx(half, rel=1e-5)


def test_the_variance_of_a_design_with_unequal_loads_by_hand():
    # a reads three cases (1, 2, 4), b one of them (9). Half mean squared differences: within a 7/3, within a case
    # 32, neither 18.5; so readers 18.5 - 7/3, cases 0, rest 7/3 + 32 - 18.5.
    # V = readers (9 + 1) / 16 + rest / 4 = 14.0625; its degrees of freedom are fewer than 1, and so 1
    found = reader_figure([1, 2, 4, 9], list("aaab"), [0, 1, 2, 0], proportion=False)
    assert found.components == pytest.approx((18.5 - 7 / 3, 0, 7 / 3 + 13.5)) and found.df == 1
    assert found.new_readers.high - 4 == pytest.approx(12.7062 * 3.75, rel=1e-5)


def test_components_are_those_of_the_analysis_of_variance_when_fully_crossed():
    table = np.random.default_rng(0).normal(size=(5, 12)) + np.arange(5)[:, None] + np.arange(12)[None] / 2
    i, j = table.shape
    readers, cases = (table.mean(1) - table.mean()), (table.mean(0) - table.mean())
    rest = table - table.mean() - readers[:, None] - cases[None]
    ms_r, ms_c = j * (readers**2).sum() / (i - 1), i * (cases**2).sum() / (j - 1)
    ms_e = (rest**2).sum() / ((i - 1) * (j - 1))
    values, who, what = crossed(table)
    found = variance_components(np.array(values), np.array(who), np.array(what))
    assert found == pytest.approx(((ms_r - ms_e) / j, (ms_c - ms_e) / i, ms_e))


def test_components_of_an_incomplete_design_are_unbiased():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        table = rng.normal(0, 1, (6, 1)) + rng.normal(0, 2, (1, 15)) + rng.normal(0, 1, (6, 15))
        read = np.stack([np.roll(np.arange(15) < 7, 2 * k) for k in range(6)])  # seven cases each
        who, what = np.nonzero(read)
        found.append(variance_components(table[read], who, what))
    assert np.mean(found, axis=0) == pytest.approx((1, 4, 1), abs=0.35)


def test_the_two_estimands_differ_and_few_readers_speak_for_themselves():
    table = np.tile([[1.0] * 9 + [0.0], [0.0] * 9 + [1.0]], (1, 4))  # one likes the model, one does not
    found = reader_figure(*crossed(table))
    assert found.reported == "these readers"
    assert found.new_readers.high - found.new_readers.low > 0.9
    assert found.these_readers.high - found.these_readers.low < 0.05
    assert reader_figure(*crossed(np.tile(table, (3, 1)))).reported == "new readers"


def test_one_reader_has_an_interval_for_this_reader_only():
    found = reader_figure(*crossed([[1, 0, 1, 1, 0, 1]]))
    assert found.new_readers.low is None and "a single reader" in found.new_readers.method
    assert found.these_readers.low is not None


def test_unanimous_wins_leave_to_new_readers_what_clopper_and_pearson_leave():
    # three readers, all for it: 0.025 ** (1 / 3)
    found = reader_figure(*crossed(np.ones((3, 20))))
    assert (found.new_readers.low, found.new_readers.high) == (pytest.approx(0.025 ** (1 / 3)), 1.0)
    assert found.these_readers.low == pytest.approx(0.025 ** (1 / 20))


def test_nothing_but_ties_is_one_half_and_not_known_to_be_so_exactly():
    found = reader_figure(*crossed(np.full((3, 8), 0.5)))
    assert found.new_readers.mean == 0.5
    assert found.new_readers.high - found.new_readers.low > 0.2
    assert found.these_readers.high - found.these_readers.low > 0.2


def test_repeats_and_missing_values_are_counted_and_do_not_weigh():
    values, who, what = crossed([[1, 0, 1], [1, 1, 0]])
    plain = reader_figure(values, who, what)
    found = reader_figure([*values, 1, None], [*who, 0, 1], [*what, 0, 2])
    assert found.new_readers.mean == plain.new_readers.mean
    assert (found.repeats, found.new_readers.excluded, found.new_readers.n) == (1, 1, 6)


def test_cases_read_by_one_reader_each_are_clustered_by_reader():
    found = reader_figure([1, 1, 0, 0, 0, 1], list("aabbcc"), range(6))
    assert found.components is None and "3 groups" in found.new_readers.method


def test_a_lower_level_gives_a_narrower_interval_in_every_design():
    for values, readers, cases in (
        crossed([[1, 0, 1, 1], [0, 1, 1, 1]]),
        ([1, 1, 0, 0, 0, 1], list("aabbcc"), range(6)),
    ):
        wide, narrow = (reader_figure(values, readers, cases, level=level) for level in (0.95, 0.5))
        for name in ("new_readers", "these_readers"):
            assert getattr(wide, name).low < getattr(narrow, name).low < getattr(narrow, name).high


def test_bad_values_are_refused_by_name():
    with pytest.raises(ValueError, match=r"reader 'r' has 3.0 on case 'c', outside \[0, 1\]"):
        reader_figure([3.0], ["r"], ["c"])
    with pytest.raises(ValueError, match="give one each"):
        reader_figure([1.0], ["r"], [])


@pytest.mark.parametrize(("readers", "cases", "least"), [(2, 28, 0.92), (4, 30, 0.91), (8, 40, 0.89)])
def test_intervals_for_new_readers_cover_and_those_of_cases_alone_do_not(readers, cases, least):
    found = simulate_coverage(readers, cases, studies=200)
    assert found.new_readers >= least
    assert found.these_readers >= 0.88
    assert found.case_only < 0.87


def test_intervals_cover_with_ties_and_a_strong_effect():
    found = simulate_coverage(4, 25, studies=150, world=ReaderWorld(effect=1.2, ties=0.2))
    assert found.new_readers >= 0.9


def test_a_component_is_never_negative():
    # a has 0 and 0, b 0 and 10 on a third case: half mean squares 25 within readers, 0 within a case, 100/3 else
    found = variance_components(np.array([0.0, 0, 0, 10]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]))
    assert found == pytest.approx((25 / 3, 100 / 3, 0))


def test_five_readers_are_a_sample_and_four_are_not():
    table = np.tile([[1.0, 0, 1, 1], [0, 1, 1, 0]], (3, 1))
    assert [reader_figure(*crossed(table[:n])).reported for n in (4, 5)] == ["these readers", "new readers"]


def test_a_reader_who_answers_twice_counts_with_the_mean_of_both():
    values, who, what = crossed([[1, 0, 1], [1, 1, 0]])
    found = reader_figure([*values, 0], [*who, 0], [*what, 0])
    assert found.new_readers.mean == pytest.approx(3.5 / 6) and found.repeats == 1


def test_the_interval_of_a_share_is_made_for_its_log_odds():
    table = crossed([[1, 1, 1, 0.5, 1, 1], [1, 0.5, 1, 0.5, 1, 0]])
    share, plain = reader_figure(*table).new_readers, reader_figure(*table, proportion=False).new_readers
    odds = [share.mean / (1 - share.mean), share.low / (1 - share.low)]  # 19 : 5, and the lower end's
    half = (plain.high - plain.mean) / (share.mean * (1 - share.mean))
    assert odds[1] == pytest.approx(odds[0] * np.exp(-half)) and share.high < 1
