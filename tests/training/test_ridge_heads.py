import numpy as np
import pytest

from vlmalign.training.ridge_heads import fit_ridge_head, split_by_group

STATES = np.array([[-1.0], [0.0], [1.0], [7.0]])
LABELS = np.array([2.0, 4.0, 6.0, np.nan])
EVERY = np.arange(4)


def test_ridge_with_a_gap_is_the_line_worked_by_hand():
    head = fit_ridge_head(STATES, LABELS, EVERY, EVERY, name="x", penalties=[2.0])
    # labels standardised: (-1, 0, 1) / sqrt(2/3); x'y = 2 sqrt(3/2), x'x + 2 = 4; the gap's state counts nowhere
    assert head.labelled == 3 and head.mean == pytest.approx(4.0) and head.std == pytest.approx((8 / 3) ** 0.5)
    assert head.weight[0] == pytest.approx(2 * 1.5**0.5 / 4) and head.intercept == pytest.approx(0.0)


def test_the_penalty_is_the_one_with_the_least_error_on_groups_that_were_not_fitted():
    held = fit_ridge_head(STATES, LABELS, np.array([0, 2]), np.array([1, 3]), name="x", penalties=[1e-6, 1e6])
    assert held.validation_error == pytest.approx(0.0, abs=1e-9)  # both lines go through the middle
    assert held.penalty == 1e-6
    rng = np.random.default_rng(0)
    states, labels = rng.normal(size=(40, 30)), rng.normal(size=40)
    noise = fit_ridge_head(states, labels, np.arange(30), np.arange(30, 40), name="x", penalties=[1e-4, 1e4])
    assert noise.penalty == 1e4 and noise.validation_error == pytest.approx(noise.mean_error, rel=0.02)


def test_no_group_is_on_both_sides_of_the_split():
    groups = [f"g{i // 3}" for i in range(30)]
    fit, held = split_by_group(groups, 0.2, seed=1)
    assert not {groups[i] for i in fit} & {groups[i] for i in held} and len(fit) + len(held) == 30
    with pytest.raises(ValueError, match="the answers are of 1 group"):
        split_by_group(["g"] * 3, 0.2, seed=0)


def test_attributes_that_teach_nothing_are_refused():
    with pytest.raises(ValueError, match="attribute 'x' is 1 of .nearly. all 3 labelled answers"):
        fit_ridge_head(STATES, np.array([1, 1, 1, np.nan]), EVERY, EVERY, name="x", penalties=[1.0])
    with pytest.raises(ValueError, match="'x' has no label to validate on"):
        fit_ridge_head(STATES, LABELS, EVERY, np.array([3]), name="x", penalties=[1.0])


def test_the_head_is_fitted_again_on_held_out_rows_too():
    states, labels = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 2.0, 2.0])
    head = fit_ridge_head(states, labels, np.array([0, 1]), np.array([2]), name="size", penalties=[1e-9])
    assert head.weight[0] * head.std == pytest.approx(1.0)  # rows 0 and 1 alone have the slope 2
