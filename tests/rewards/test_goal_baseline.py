import pytest
import torch

from vlmalign.rewards.goal_baseline import goal_baseline_reward, prompt_mean


def unit(*shape, seed=0):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=-1)


X = unit(4, 6)
# means of three and of two prompts for each of four rows: shorter than 1, as in VLM-RM
G, B = unit(4, 3, 6, seed=1).mean(1), unit(4, 2, 6, seed=2).mean(1)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_reward_is_that_of_the_projection_matrices_written_out(alpha):
    found = goal_baseline_reward(X, G, B, alpha=alpha)
    for i in range(4):
        d = (G[i] - B[i])[:, None]
        matrix = alpha * (d @ d.T) / (d.T @ d) + (1 - alpha) * torch.eye(6, dtype=torch.float64)
        assert float(found[i]) == pytest.approx(
            1 - 0.5 * float((matrix @ (X[i] - G[i])).square().sum()), abs=1e-12
        )


def test_at_alpha_zero_it_is_the_cosine_of_one_prompt_and_more_for_a_mean_of_several():
    single = unit(4, 6, seed=3)
    torch.testing.assert_close(goal_baseline_reward(X, single, None, alpha=0), (X * single).sum(-1))
    expected = (X * G).sum(-1) + (1 - G.square().sum(-1)) / 2
    torch.testing.assert_close(goal_baseline_reward(X, G, None, alpha=0), expected)


def test_at_alpha_one_only_the_direction_from_baseline_to_goal_counts():
    d = G - B
    off_axis = unit(4, 6, seed=4)
    off_axis = off_axis - (off_axis * d).sum(-1, keepdim=True) / d.square().sum(-1, keepdim=True) * d
    one, moved = (goal_baseline_reward(x, G, B, alpha=1.0) for x in (X, X + off_axis))
    torch.testing.assert_close(one, moved)
    half, moved = (goal_baseline_reward(x, G, B, alpha=0.5) for x in (X, X + off_axis))
    assert (half - moved).abs().max() > 0.01


def test_the_goal_itself_has_the_highest_reward_whatever_alpha():
    for alpha in (0.0, 0.5, 1.0):
        assert goal_baseline_reward(G, G, B, alpha=alpha).tolist() == pytest.approx([1.0] * 4)


def test_the_mean_of_prompts_is_brought_to_length_one_only_when_asked():
    prompts = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert prompt_mean(prompts).tolist() == [0.5, 0.5]
    assert prompt_mean(prompts, normalize=True).tolist() == pytest.approx([2**-0.5] * 2)


def test_a_projection_without_a_direction_is_refused_by_row():
    same = torch.cat([B[:1], G[1:2], B[2:]])
    with pytest.raises(ValueError, match=r"goal and baseline of rows \[1\] are equal"):
        goal_baseline_reward(X, G, same, alpha=0.1)
    assert goal_baseline_reward(X, G, same, alpha=0.0).isfinite().all()
    with pytest.raises(ValueError, match="alpha is 0.5 and there is no baseline"):
        goal_baseline_reward(X, G, None, alpha=0.5)
    with pytest.raises(ValueError, match="alpha is 1.5, expected 0 to 1"):
        goal_baseline_reward(X, G, B, alpha=1.5)
