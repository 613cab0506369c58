import numpy as np
import pytest

from vlmalign.evaluation import paired_difference
from vlmalign.evaluation.reward_shift import PairScores, reward_shift


def judged(judge, right, groups, names=None):
    """Pairs of which `right` says 1, 0, None (unscored) or 0.5 (a tie)."""
    scores = [None if r is None else float(r) for r in right]
    names = tuple(names or range(len(right)))
    return PairScores(judge, scores, [0.5] * len(right), tuple(groups), names)


def share(n, of, every=1):
    """n of so many right, each of them in a group of its own or several in one."""
    return [1] * n + [0] * (of - n), [i // every for i in range(of)]


def shift(held_a, held_b, far_a, far_b, *, held, far):
    return reward_shift(
        (judged("implicit@1", held_a, held), judged("scalar@1", held_b, held)),
        (judged("implicit@1", far_a, far), judged("scalar@1", far_b, far)),
    )


def test_accuracies_differences_and_drops_by_hand():
    held, far = [f"h{i}" for i in range(10)], [f"f{i}" for i in range(10)]
    found = shift([1] * 9 + [0], [1] * 8 + [0] * 2, [1] * 5 + [0] * 5, [1] * 7 + [0] * 3, held=held, far=far)
    assert (found.held_out.a.accuracy.mean, found.held_out.b.accuracy.mean) == (0.9, 0.8)
    assert found.held_out.a_minus_b.mean == pytest.approx(0.1)
    assert found.shifted.a_minus_b.mean == pytest.approx(-0.2)
    assert (found.drop_a.mean, found.drop_b.mean) == (pytest.approx(0.4), pytest.approx(0.1))
    assert found.drop_a_minus_b.mean == pytest.approx(0.3)
    assert (found.drop_a.n, found.drop_a.n_groups) == (20, 20)
    assert found.to_dict()["drop"]["implicit@1"]["mean"] == pytest.approx(0.4)
    assert found.to_dict()["shifted"]["difference"]["mean"] == pytest.approx(-0.2)


def test_with_the_same_groups_in_both_places_the_drop_is_paired():
    """Two pairs a group in each place, so that group by group the drop is a paired difference of pairs."""
    groups = [i // 2 for i in range(160)]
    rng = np.random.default_rng(0)
    before = [float(x) for x in rng.random(160) < 0.8]
    after = [b if rng.random() < 0.8 else 1 - b for b in before]
    found = shift(before, after, after, before, held=groups, far=groups)
    paired = paired_difference(before, after, groups)
    assert found.drop_a.mean == pytest.approx(paired.mean)
    assert (found.drop_a.low, found.drop_a.high) == (pytest.approx(paired.low), pytest.approx(paired.high))
    assert found.drop_b.mean == pytest.approx(-paired.mean)


def test_with_other_groups_the_variances_add_up():
    held, far = [f"h{i}" for i in range(200)], [f"f{i}" for i in range(100)]
    right, far_right = [1] * 160 + [0] * 40, [1] * 60 + [0] * 40
    found = shift(right, right, far_right, far_right, held=held, far=far).drop_a
    half = 1.96 * (0.8 * 0.2 / 200 + 0.6 * 0.4 / 100) ** 0.5
    assert found.mean == pytest.approx(0.2) and found.n_groups == 300
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_pairs_of_one_group_are_not_independent():
    wide, narrow = (
        shift(
            right, right, right[::-1], right[::-1], held=[f"h{g}" for g in groups], far=[f"f{g}" for g in groups]
        )
        for right, groups in (share(60, 100, every=5), share(60, 100))
    )
    width = [each.drop_a.high - each.drop_a.low for each in (wide, narrow)]
    assert width[0] > 1.8 * width[1]


def test_two_perfect_places_are_not_known_to_be_the_same_for_certain():
    held, far = [f"h{i}" for i in range(40)], [f"f{i}" for i in range(40)]
    found = shift([1] * 40, [1] * 40, [1] * 40, [1] * 40, held=held, far=far)
    assert found.drop_a.mean == 0.0
    bound = 1 - 0.025 ** (1 / 40)
    assert (found.drop_a.low, found.drop_a.high) == (pytest.approx(-bound), pytest.approx(bound))
    assert found.drop_a_minus_b.low < 0 < found.drop_a_minus_b.high


def test_unscored_pairs_are_counted_and_leave_only_what_they_must():
    held = [f"h{i}" for i in range(20)]
    far = [f"f{i}" for i in range(20)]
    found = shift([None] + [1] * 19, [1] * 20, [1] * 18 + [None] * 2, [0] * 20, held=held, far=far)
    assert (found.held_out.a.accuracy.n, found.held_out.a.accuracy.excluded) == (19, 1)
    assert (found.drop_a.n, found.drop_a.excluded) == (37, 3)
    assert (found.drop_b.n, found.drop_b.excluded) == (40, 0)
    assert (found.drop_a_minus_b.n, found.drop_a_minus_b.excluded) == (37, 3)


def test_without_scores_or_with_a_single_group_nothing_is_made_up():
    some, none = [1, 0] * 10, [None] * 20
    far = [f"f{i}" for i in range(20)]
    found = shift(some, none, some, some, held=["h"] * 20, far=far)
    assert found.drop_a.mean == 0.0 and found.drop_a.low is None and "single group" in found.drop_a.method
    assert found.drop_b.mean is None and found.drop_a_minus_b.mean is None
    assert found.drop_b.excluded == 20


def test_rewards_that_judged_other_pairs_are_refused():
    a, b = judged("a@1", [1, 0], "xy"), judged("b@1", [1, 0], "xy")
    with pytest.raises(ValueError, match="judged different shifted pairs"):
        reward_shift((a, b), (a, judged("b@1", [1, 0], "xy", names=["p", "q"])))
    with pytest.raises(ValueError, match="score both kinds with the same two"):
        reward_shift((a, b), (b, a))
    with pytest.raises(ValueError, match="there is nothing to compare"):
        reward_shift((a, a), (a, a))
