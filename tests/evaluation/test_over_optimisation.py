import math

import pytest

from vlmalign.evaluation.over_optimisation import (
    JudgedCandidates,
    kl_of_best_of_n,
    over_optimisation,
    over_optimisation_plot,
)


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
    assert b"<svg" in over_optimisation_plot(found)
