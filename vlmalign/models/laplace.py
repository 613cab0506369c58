"""Last-layer Laplace approximation of a Bradley-Terry reward: how sure the last layer can be of a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

PRECISIONS = tuple(10.0**exponent for exponent in range(-3, 5))


@dataclass(frozen=True)
class LastLayerLaplace:
    """A normal posterior over the last layer's weights.

    Bradley-Terry knows differences only, so the curvature is that of feature differences: H = lambda I + sum p (1
    - p) d d^T, d = features(chosen) - features(rejected), and the standard deviation of a difference of rewards is
    sqrt(d^T H^-1 d) (MacKay 1992, Neural Computation 4:720; for fine-tuned language models Yang et al. 2024,
    Laplace-LoRA, arXiv:2308.13111, here for the last layer alone).

    Attributes:
        factor: a square root of H^-1, (F, F) float64: factor^T factor = H^-1, so that std = |factor d|.
        precision: lambda, of the prior.
        pairs: how many pairs it was fitted on.
    """

    factor: Tensor
    precision: float
    pairs: int

    @classmethod
    def fit(
        cls, differences: Tensor, weight: Tensor, *, precisions: Sequence[float] = PRECISIONS
    ) -> LastLayerLaplace:
        """The posterior, with the prior's precision of the greatest evidence.

        The evidence is that of the trained weights, log p(pairs | w) - lambda |w|^2 / 2 + F log(lambda) / 2 -
        log det(H) / 2 (MacKay 1992, equation 8), taken along the differences only: a direction in which no two
        answers of the data differ costs nothing and is as uncertain as the prior.

        Args:
            differences: of features, chosen less rejected, (P, F).
            weight: of the last layer, (F,).
            precisions: to choose from; one: no choice.

        Raises:
            ValueError: no pairs, or differences that are all zero or not finite.

        Example:
            >>> one = LastLayerLaplace.fit(torch.tensor([[2.0, 0.0]]), torch.zeros(2), precisions=[1.0])
            >>> one.std(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).float()  # H = diag(1 + 4 / 4, 1)
            tensor([0.7071, 1.0000])
        """
        differences, weight = differences.double(), weight.double()
        if not len(differences) or not bool(differences.isfinite().all()) or not bool(differences.any()):
            raise ValueError(
                f"{len(differences)} feature differences, of which one is not finite or all are zero: a Laplace "
                "approximation needs pairs whose answers differ, by finite numbers."
            )
        margins = differences @ weight
        chances = torch.sigmoid(margins)
        curvature = differences.T @ (differences * (chances * (1 - chances))[:, None])
        values, vectors = torch.linalg.eigh(curvature)
        values = values.clamp_min(0.0)
        along = (vectors.T @ weight) ** 2
        spanned = values > values.max() * 1e-10

        def evidence(precision: float) -> float:
            fit = logsigmoid(margins).sum() - 0.5 * precision * along[spanned].sum()
            return float(fit - 0.5 * torch.log1p(values[spanned] / precision).sum())

        best = max(precisions, key=evidence)
        factor = (vectors / (values + best).sqrt()).T
        return cls(factor.contiguous(), float(best), len(differences))

    def std(self, differences: Tensor) -> Tensor:
        """Standard deviation of the rewards' differences: (N, F) -> (N,) float64."""
        return (differences.double() @ self.factor.T).norm(dim=1)
