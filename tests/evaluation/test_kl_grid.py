import pytest

from vlmalign.evaluation.kl_grid import at_kl, common_grid, curve, differences


def run(*points):
    return [{"kl": kl, "reward": reward, "gold": gold} for kl, reward, gold in points]


ONE = run((0.0, 0.0, 0.5), (2.0, 1.0, 0.7), (6.0, 3.0, 0.1))
TWO = run((0.0, 0.0, 0.5), (4.0, 2.0, 0.9))


def test_a_figure_lies_between_two_evaluations():
    assert at_kl(ONE, "gold", 4.0) == pytest.approx(0.4)
    assert at_kl(ONE, "reward", 0.0) == 0.0


def test_where_a_run_comes_back_its_first_coming_counts():
    wandering = run((0.0, 0.0, 0.0), (4.0, 4.0, 4.0), (1.0, 9.0, 9.0), (5.0, 9.0, 9.0))
    assert at_kl(wandering, "gold", 3.0) == pytest.approx(3.0)


def test_what_a_run_does_not_reach_is_not_made_up():
    assert at_kl(TWO, "gold", 4.5) is None
    point = curve([ONE, TWO], [5.0])[0]
    assert (point.gold.n, point.gold.excluded) == (1, 1)


def test_a_figure_that_is_not_known_is_passed_over():
    assert at_kl(run((0.0, 0.0, 0.0), (1.0, 1.0, None), (2.0, 2.0, 2.0)), "gold", 1.0) == pytest.approx(1.0)
    assert at_kl(run((0.5, 0.0, 1.0)), "gold", 0.2) is None  # nothing is known before


def test_the_grid_ends_where_the_shortest_run_does():
    assert common_grid({"a": [ONE], "b": [TWO]}, n=3) == [0.0, 2.0, 4.0]
    with pytest.raises(ValueError, match="a run of 'b' has no evaluation"):
        common_grid({"a": [ONE], "b": [[]]})


def test_arms_are_compared_seed_by_seed():
    shifted = [[{**point, "gold": point["gold"] + 0.25} for point in each] for each in (ONE, TWO)]
    apart = differences(shifted, [ONE, TWO], [0.0, 2.0])
    assert [point.gold.mean for point in apart] == pytest.approx([0.25, 0.25])
    assert apart[1].gold.low is None  # seeds differ, their differences do not
    assert apart[0].to_dict()["gold_high"] is None
    with pytest.raises(ValueError, match="2 and 1 runs"):
        differences(shifted, [ONE], [0.0])
