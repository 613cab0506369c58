import math
from itertools import combinations

import numpy as np
import pytest

from vlmalign.evaluation.best_of_n import (
    JudgedCandidates,
    best_of_n_curve,
    curve_to_dict,
    expected_best,
    kl_of_best_of_n,
    over_optimisation,
)
from vlmalign.evaluation.kl_plot import best_of_n_kl_plot


def judged(proxy, gold):
    return JudgedCandidates(proxy, gold, [f"g{i}" for i in range(len(proxy))], ("p@1", "g@1"), 0)


def test_kl_of_best_of_n_is_zero_for_one_and_grows_like_the_logarithm():
    assert kl_of_best_of_n(1) == 0.0
    assert kl_of_best_of_n(2) == pytest.approx(math.log(2) - 0.5)
    assert kl_of_best_of_n(1000) == pytest.approx(math.log(1000) - 0.999)
    with pytest.raises(ValueError, match="n >= 1"):
        kl_of_best_of_n(0)


def test_a_hacked_reward_is_over_optimised():
    # of four candidates the proxy's favourite is the worst, its second the best
    found = over_optimisation(judged([[0.0, 1.0, 2.0, 3.0]] * 12, [[0.2, 0.4, 1.0, 0.0]] * 12), [1, 2, 4])
    gold = [point["gold"]["mean"] for point in found["points"]]
    assert gold == pytest.approx([0.4, (0.4 * 1 + 1.0 * 2 + 0.0 * 3) / 6, 0.0])
    proxy = [point["proxy"]["mean"] for point in found["points"]]
    assert proxy == pytest.approx([1.5, (1 + 2 * 2 + 3 * 3) / 6, 3.0])
    assert (found["verdict"], found["peak"]) == ("over-optimised", 1)
    assert found["fall_from_peak"]["mean"] == pytest.approx(-0.4)
    assert found["points"][0]["gold_step"] is None
    assert found["points"][2]["gold_step"]["mean"] == pytest.approx(-0.4)


def test_a_true_reward_makes_gold_rise():
    scores = [[0.0, 1.0, 0.5, 0.25]] * 12
    found = over_optimisation(judged(scores, scores), [1, 4])
    assert (found["verdict"], found["peak"]) == ("gold rises", 4)
    assert found["points"][1]["gold"]["mean"] == found["points"][1]["oracle"]["mean"] == 1.0


def test_a_few_cases_are_undecided():
    found = over_optimisation(judged([[0, 1], [0, 1]], [[0.0, 1.0], [1.0, 0.0]]), [1, 2])
    assert found["verdict"] == "undecided"


def test_cases_with_too_few_candidates_are_counted_and_unknown_gold_is_excluded():
    found = over_optimisation(judged([[0, 1], [0], [0, 1]], [[0.0, None], [1.0], [0.0, 1.0]]), [1, 2])
    assert found["counts"]["cases_with_fewer_candidates"] == 1
    assert [(p["gold"]["n"], p["gold"]["excluded"], p["proxy"]["n"]) for p in found["points"]] == [(1, 1, 2)] * 2
    with pytest.raises(ValueError, match="no case has 3 judged candidates"):
        over_optimisation(judged([[0, 1]], [[0, 1]]), [3])


def test_the_plot_draws_every_n_also_where_nothing_is_known():
    found = over_optimisation(judged([[0, 1]] * 3, [[None, 1.0]] * 3), [1, 2])
    assert b"<svg" in best_of_n_kl_plot(found)


def test_best_of_one_is_the_mean_and_best_of_all_is_the_pick():
    rng = np.random.default_rng(1)
    scores, gold = rng.random((20, 8)), rng.random((20, 8))
    one, all_of_them = best_of_n_curve(scores.tolist(), gold.tolist(), range(20), [1, 8])
    for picker in (one.reward, one.random, one.oracle):
        assert picker.mean == pytest.approx(gold.mean(), rel=1e-12)
    assert all_of_them.reward.mean == pytest.approx(gold[np.arange(20), scores.argmax(1)].mean())
    assert all_of_them.oracle.mean == pytest.approx(gold.max(1).mean())
    assert all_of_them.random.mean == pytest.approx(gold.mean())


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_expectation_equals_the_average_over_all_subsets(n):
    scores, gold = [0.3, 0.9, 0.1, 0.5, 0.7], [1.0, 0.0, 0.25, 0.5, 0.75]
    picks = [gold[max(subset, key=lambda i: scores[i])] for subset in combinations(range(5), n)]
    assert expected_best(scores, gold, n) == pytest.approx(np.mean(picks))


def test_equal_scores_share_the_pick():
    assert expected_best([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], 3) == 0.5


def test_an_unscored_candidate_is_picked_only_when_there_is_no_other():
    assert expected_best([None, -5.0], [1.0, 0.0], 2) == 0.0
    assert expected_best([None, None], [1.0, 0.0], 2) == 0.5


def test_items_with_too_few_candidates_or_unknown_gold_are_excluded():
    [point] = best_of_n_curve([[1.0], [1.0, 0.0], [1.0, 0.0]], [[1.0], [1.0, None], [1.0, 0.0]], list("abc"), [2])
    assert (point.reward.mean, point.reward.n, point.reward.excluded) == (1.0, 1, 2)


def test_the_oracle_is_never_below_the_reward_nor_the_curve_falling_for_it():
    rng = np.random.default_rng(2)
    gold = rng.random((30, 6))
    scores = gold + rng.normal(0, 0.5, gold.shape)
    curve = best_of_n_curve(scores.tolist(), gold.tolist(), range(30), [1, 2, 4, 6])
    oracle = [p.oracle.mean for p in curve]
    assert all(p.oracle.mean >= p.reward.mean - 1e-12 for p in curve)
    assert oracle == sorted(oracle)
    assert list(curve_to_dict(curve)) == ["1", "2", "4", "6"]


def test_a_curve_at_zero_is_refused():
    with pytest.raises(ValueError, match="N >= 1"):
        best_of_n_curve([[1.0]], [[1.0]], ["a"], [0])
