"""From a batch of cases whose answers are ranked to what a listwise loss reads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RankedAnswers(NamedTuple):
    """B cases with up to K answers.

    Attributes:
        ratios: log-ratios, (B, K).
        ranks: 1 is best, (B, K).
        present: which answers exist, (B, K) bool.
    """

    ratios: Tensor
    ranks: Tensor
    present: Tensor


def ranked_answers(
    policy: Tensor, reference: Tensor, pairs: Tensor, ranks: Tensor, prompt_index: Tensor, slots: Tensor
) -> RankedAnswers:
    """Arrange N answers by case.

    Args:
        policy: log-probabilities of all answers, (N,).
        reference: those of both answers of each pair under the reference, (P, 2); every answer is in a pair.
        pairs: rows of both answers of each pair, (P, 2).
        ranks: of all answers, (N,).
        prompt_index: case of each answer, (N,).
        slots: place of each answer among those of its case, (N,).

    Example:
        >>> policy, reference = torch.tensor([-1.0, -2.0]), torch.tensor([[-1.5, -1.5]])
        >>> ranked_answers(policy, reference, torch.tensor([[0, 1]]), torch.tensor([1, 2]),
        ...                torch.tensor([0, 0]), torch.tensor([0, 1])).ratios
        tensor([[ 0.5000, -0.5000]])
    """
    own = torch.zeros_like(policy)
    own[pairs] = reference.to(policy.dtype)
    shape = (int(prompt_index.max()) + 1, int(slots.max()) + 1)
    places = (prompt_index, slots)
    ratios = policy.new_zeros(shape).index_put(places, policy - own)
    present = torch.zeros(shape, dtype=torch.bool, device=policy.device)
    present[places] = True
    table = torch.zeros(shape, dtype=ranks.dtype, device=policy.device)
    table[places] = ranks
    return RankedAnswers(ratios, table, present)


def mean_by(values: Tensor, groups: Tensor, n: int) -> Tensor:
    """Mean of the values of each of n groups, none of which is empty, (n,).

    Args:
        values: (M,).
        groups: of each value, (M,) integer.
        n: how many groups there are.

    Example:
        >>> mean_by(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1]), 2)
        tensor([2., 5.])
    """
    return values.new_zeros(n).index_add(0, groups, values) / torch.bincount(groups, minlength=n)
