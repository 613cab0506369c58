import math

import pytest
import torch

from vlmalign.models.laplace import LastLayerLaplace
from vlmalign.rewards.belief import Belief


def test_a_shift_that_each_member_has_is_no_doubt_in_a_difference():
    belief = Belief(torch.tensor([[0.0, 10.0, -4.0], [1.0, 11.0, -3.0], [2.0, 11.0, -3.0]]))
    assert belief.at([0]).std_against(belief.at([1])).item() == 0
    assert belief.at([0]).std_against(belief.at([2])).item() == pytest.approx(math.sqrt(1 / 3))  # 2, 1, 1
    assert belief.std().isnan().all()  # of an answer alone nothing is known


def test_a_heads_own_variances_add_up():
    belief = Belief(torch.tensor([[1.0], [2.0]]), variance=torch.tensor([9.0, 16.0]))
    assert belief.std().tolist() == [3.0, 4.0]
    assert belief.at([0]).std_against(belief.at([1])).item() == 5.0


def test_members_that_doubt_themselves_disagree_and_doubt():
    belief = Belief(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), variance=torch.tensor([1.0, 1.0]))
    assert belief.at([0]).std_against(belief.at([1])).item() == 2.0  # 2 of members, 2 of heads


def test_equal_features_leave_no_doubt_under_laplace():
    laplace = LastLayerLaplace.fit(torch.tensor([[1.0, 2.0]]), torch.zeros(2), precisions=[1.0])
    belief = Belief(torch.zeros(2, 1), features=torch.ones(2, 2), laplace=laplace)
    assert belief.at([0]).std_against(belief.at([1])).item() == 0


def test_one_model_without_doubt_says_so():
    belief = Belief(torch.zeros(2, 1))
    assert belief.at([0]).std_against(belief.at([1])).isnan().all()


def test_joined_beliefs_keep_their_order():
    belief = Belief(torch.arange(4.0)[:, None], variance=torch.arange(4.0))
    joined = Belief.join([belief.at([0, 1]), belief.at([2, 3])])
    assert torch.equal(joined.draws, belief.draws) and torch.equal(joined.variance, belief.variance)
