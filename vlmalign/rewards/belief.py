"""What a reward model holds possible of answers, so that the doubt in a difference is that of the difference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmalign.models.laplace import LastLayerLaplace


@dataclass(frozen=True)
class Belief:
    """Rewards of N answers with what is known of their doubt.

    Bradley-Terry rewards are known up to a shift, which members of an ensemble choose each for itself, so the
    spread of an answer's reward over members says nothing: only that of a difference does. Which of these are
    given says where the doubt comes from; none: nothing is known of it.

    Attributes:
        draws: rewards by members, dropout masks or views, aligned over answers, (N, M); one draw has no spread.
        variance: of each answer's own reward, independent of other answers', (N,).
        features: what the last layer reads, (N, F), for `laplace`.
        laplace: the last layer's posterior.

    Example:
        >>> two = Belief(torch.tensor([[1.0, 5.0], [0.0, 4.0]]))  # members that differ by a shift
        >>> two.at([0]).std_against(two.at([1])).tolist()
        [0.0]
    """

    draws: Tensor
    variance: Tensor | None = None
    features: Tensor | None = None
    laplace: LastLayerLaplace | None = None

    @property
    def mean(self) -> Tensor:
        """Mean over draws, (N,)."""
        return self.draws.mean(1)

    def at(self, rows: list[int]) -> Belief:
        """Of some of the answers, in that order."""
        return Belief(
            self.draws[rows],
            None if self.variance is None else self.variance[rows],
            None if self.features is None else self.features[rows],
            self.laplace,
        )

    @staticmethod
    def join(parts: list[Belief]) -> Belief:
        """Of all answers of several beliefs of one model."""
        first = parts[0]
        return Belief(
            torch.cat([part.draws for part in parts]),
            None if first.variance is None else torch.cat([p.variance for p in parts if p.variance is not None]),
            None if first.features is None else torch.cat([p.features for p in parts if p.features is not None]),
            first.laplace,
        )

    def std_against(self, other: Belief) -> Tensor:
        """Standard deviation of the difference to another answer's reward, row by row, (N,); NaN: not known."""
        if self.laplace is not None and self.features is not None and other.features is not None:
            return self.laplace.std(self.features - other.features)
        total = torch.zeros(len(self.draws), dtype=torch.float64)
        if self.draws.shape[1] > 1:
            total = total + (self.draws - other.draws).double().var(1)
        if self.variance is not None and other.variance is not None:
            total = total + (self.variance + other.variance).double()
        known = self.draws.shape[1] > 1 or self.variance is not None
        return total.sqrt() if known else torch.full_like(total, float("nan"))

    def std(self) -> Tensor:
        """Standard deviation of each answer's own reward, (N,): known only where a head says it; else NaN."""
        if self.variance is not None and self.draws.shape[1] == 1:
            return self.variance.double().sqrt()
        return torch.full((len(self.draws),), float("nan"), dtype=torch.float64)
