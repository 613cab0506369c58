import pytest
import torch

from vlmalign.losses.advantages import (
    Moments,
    gae,
    group_advantages,
    leave_one_out_advantages,
    whiten,
)

NAN = float("nan")


def test_gae_by_hand():
    rewards, values = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 1.5]])
    found = gae(rewards, values, torch.ones(1, 3).bool(), gamma=0.5, lam=0.5)
    last = 2.0 - 1.5
    middle = 0.5 * 1.5 - 1.0 + 0.25 * last
    first = 1.0 + 0.5 * 1.0 - 0.5 + 0.25 * middle
    assert found.advantages[0].tolist() == pytest.approx([first, middle, last])
    torch.testing.assert_close(found.returns, found.advantages + values)


def test_without_discount_gae_is_the_return_less_the_value():
    rewards, values = torch.tensor([[1.0, -2.0, 4.0]]), torch.tensor([[9.0, 8.0, 7.0]])
    found = gae(rewards, values, torch.ones(1, 3).bool(), gamma=1.0, lam=1.0)
    assert found.returns[0].tolist() == [3.0, 2.0, 4.0]


def test_gae_passes_over_what_is_masked_and_reads_nothing_of_it():
    short = gae(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[0.3, 0.6]]), torch.ones(1, 2).bool(), gamma=0.9, lam=0.8
    )
    mask = torch.tensor([[True, False, True, False]])
    rewards, values = torch.tensor([[1.0, 77.0, 2.0, 77.0]]), torch.tensor([[0.3, 55.0, 0.6, 55.0]])
    long = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    assert long.advantages[mask].tolist() == pytest.approx(short.advantages[0].tolist())
    assert not long.advantages[~mask].any() and not long.returns[~mask].any()


def test_group_advantages_compare_valid_answers_of_one_prompt():
    scores = torch.tensor([1.0, 2.0, 6.0, NAN, 5.0, 5.0])
    prompts = torch.tensor([0, 0, 0, 0, 7, 7])
    valid = ~scores.isnan()
    assert group_advantages(scores, prompts, valid, scale=False).tolist() == [-2.0, -1.0, 3.0, 0.0, 0.0, 0.0]
    scaled = group_advantages(scores, prompts, valid, scale=True)
    assert scaled[:3].tolist() == pytest.approx([v / (7**0.5 + 1e-4) for v in (-2, -1, 3)])
    assert scaled[4:].tolist() == [0.0, 0.0]


def test_leave_one_out_is_the_group_advantage_times_k_over_k_less_one():
    scores, prompts, valid = torch.randn(8), torch.arange(8) // 4, torch.ones(8).bool()
    torch.testing.assert_close(
        leave_one_out_advantages(scores, prompts, valid),
        group_advantages(scores, prompts, valid, scale=False) * 4 / 3,
    )


@pytest.mark.parametrize("how", [leave_one_out_advantages, lambda *a: group_advantages(*a, scale=True)])
def test_an_answer_without_a_valid_sibling_teaches_nothing(how):
    found = how(torch.tensor([3.0, NAN, 2.0]), torch.tensor([0, 0, 1]), torch.tensor([True, False, True]))
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_moments_of_parts_are_the_moments_of_the_whole():
    values = torch.randn(50)
    joined = Moments.of(values[:7]).join(Moments()).join(Moments.of(values[7:]))
    assert joined.mean == pytest.approx(float(values.mean()), abs=1e-6)
    assert joined.std == pytest.approx(float(values.std()), abs=1e-6)


def test_whitening_without_a_shift_keeps_the_sign_and_equal_values_are_left_alone():
    values = torch.tensor([1.0, 3.0])
    assert whiten(values, Moments.of(values), shift=False).tolist() == pytest.approx([0.5**0.5, 3 * 0.5**0.5])
    same = torch.tensor([2.0, 2.0])
    assert whiten(same, Moments.of(same), shift=False).tolist() == [2.0, 2.0]
    assert whiten(same, Moments.of(same), shift=True).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("setting", ["gamma", "lam"])
def test_a_discount_outside_its_range_is_refused(setting):
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match=rf"{setting} is 1.5, expected a number in \[0, 1\]"):
        gae(one, one, one.bool(), **{"gamma": 1.0, "lam": 1.0, setting: 1.5})
