"""How risky is an answer, judged by several weak sources at once: Pareto optimal self-supervision.

A small model h, the harmoniser, learns from the model's own answer and from what experts, rules and judges say of
the same question, none of which is taken for the truth. The risk of an answer is the probability that h gives to
everything else (the POLAR score; Zhao et al. 2023, arXiv:2306.16564). It orders answers by risk; as h is fitted to
sources that err, it is nearer to one half than the share of wrong answers: calibrate it before reading it as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from vlmalign.clinical import Logic, answers_from_findings
from vlmalign.records import Case, Finding
from vlmalign.records.base import Part
from vlmalign.rewards.expert_verified import by_image

ABSTAINS = -1
Votes = NDArray[np.int64]
Scalariser = Literal["quadratic", "linear", "euclidean"]


class Harmoniser(Part):
    """Multinomial logistic regression of the value on features.

    Attributes:
        weights: (K, D), on standardised features.
        bias: (K,).
        centre: (D,) mean of each feature.
        scale: (D,) standard deviation of each, 1 for a constant one.
        scalariser: see `fit`.
        n: examples that it was fitted to.
    """

    weights: tuple[tuple[float, ...], ...] = Field(min_length=2)
    bias: tuple[float, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    scalariser: Scalariser
    n: int

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        answers: ArrayLike,
        sources: ArrayLike,
        n_values: int,
        *,
        scalariser: Scalariser = "quadratic",
        l2: float = 1e-2,
    ) -> Self:
        """Fit to the model's answers and M weak sources.

        With l_0 the cross-entropy of h to the model's answer, and l_j to what source j says, 0 where it abstains,
        the mean over examples of G(l_0, ..., l_M) is minimised. G is the paper's quadratic scalariser,
        (l_0 + ... + l_M)^2, which weighs examples on which the sources contradict h most; or linear,
        l_0 + ... + l_M (a majority vote, smoothed by the features); or Euclidean, sqrt(l_0^2 + ... + l_M^2). Each
        is increasing in every loss, so that no loss can be lowered at the minimum without raising another (Pareto
        optimality). An example on which all abstain has no loss and is left out.

        Args:
            features: (N, D) of the question, e.g. pooled image features; not the votes, which h would copy.
            answers: (N,) the model's answer as a number from 0 to K - 1, `ABSTAINS` where it gives none.
            sources: (N, M) what each source says.
            n_values: K.
            scalariser: G.
            l2: penalty l2 / 2 * |W|^2 on the weights of standardised features.

        Raises:
            ValueError: shapes that do not fit, a feature that is not finite, a vote out of range, a source that
                always abstains, or no example with a vote.
        """
        x, votes = _checked(features, answers, sources, n_values)
        told = (votes >= 0).any(1)
        if not told.any():
            raise ValueError(f"all {len(x)} examples are without any vote: there is nothing to learn")
        x, votes = x[told], votes[told]
        centre, scale = x.mean(0), x.std(0)
        scale = np.where(
            scale > 1e-9 * np.maximum(1.0, np.abs(centre)), scale, 1.0
        )  # rounding gives constants a spread
        inputs = torch.from_numpy((x - centre) / scale)
        given = torch.from_numpy(votes)
        weights = torch.zeros(n_values, x.shape[1], dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(n_values, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            logs = torch.log_softmax(inputs @ weights.T + bias, dim=1)
            losses = -torch.gather(logs, 1, given.clamp(min=0)) * (given >= 0)
            loss = scalarise(losses, scalariser).mean() + 0.5 * l2 * weights.square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        return cls(
            weights=tuple(map(tuple, weights.detach().tolist())), bias=tuple(bias.detach().tolist()),
            centre=tuple(centre.tolist()), scale=tuple(scale.tolist()), scalariser=scalariser, n=len(x),
        )  # fmt: skip

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        """Probability of each value, (N, K), from features (N, D)."""
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.centre):
            raise ValueError(f"features has shape {x.shape}, expected (N, {len(self.centre)})")
        logits = (x - self.centre) / self.scale @ np.array(self.weights).T + self.bias
        return np.asarray(torch.softmax(torch.from_numpy(logits), dim=1))

    def risk(self, features: ArrayLike, answers: ArrayLike) -> NDArray[np.float64]:
        """POLAR score (N,): 1 - h(x)[answer]; NaN where the model gave no answer."""
        p, given = self.predict(features), np.asarray(answers, dtype=np.int64)
        if len(given) != len(p) or (given >= p.shape[1]).any():
            raise ValueError(f"answers has {len(given)} entries for {len(p)} rows of {p.shape[1]} values")
        return np.where(given >= 0, 1 - p[np.arange(len(p)), given.clip(0)], np.nan)


def scalarise(losses: torch.Tensor, scalariser: Scalariser) -> torch.Tensor:
    """One number per example (N,) of its losses (N, M + 1).

    Example:
        >>> scalarise(torch.tensor([[1.0, 2.0]]), "quadratic").item()
        9.0
    """
    if scalariser == "quadratic":
        return losses.sum(1).square()
    if scalariser == "linear":
        return losses.sum(1)
    if scalariser == "euclidean":
        return (losses.square().sum(1) + 1e-12).sqrt()  # its slope at 0 is not defined
    raise ValueError(f"unknown scalariser {scalariser!r}: use quadratic, linear or euclidean")


def settled_answers(
    logic: Logic, cases: Sequence[Case], findings: Iterable[Finding], *, min_probability: float = 0.8
) -> list[dict[str, str]]:
    """What one expert's findings settle of N cases: concept -> value for each, as it is said of its images.

    Args:
        logic: the domain.
        cases: N.
        findings: of one expert, on these and perhaps other images.
        min_probability: what the best value needs to settle a concept.
    """
    found = by_image(findings)
    here = [[finding for ref in case.images for finding in found.get(ref.sha256, [])] for case in cases]
    return [dict(answers_from_findings(logic, each, min_probability=min_probability).answers) for each in here]


def majority_answers(said: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What most of several answers of one model to one case claim of each concept; ties are left out.

    Example:
        >>> majority_answers([{"stain": "pale", "focus": "sharp"}, {"stain": "pale"}, {"focus": "blurred"}])
        {'stain': 'pale'}
    """
    found = {}
    for concept in dict.fromkeys(name for answer in said for name in answer):
        counts = Counter(answer[concept] for answer in said if concept in answer).most_common(2)
        if len(counts) == 1 or counts[0][1] > counts[1][1]:
            found[concept] = counts[0][0]
    return found


def votes_of(logic: Logic, concept: str, answers: Iterable[Mapping[str, str]]) -> Votes:
    """What each of N says of a concept, as the number of its value; `ABSTAINS` where nothing clear is said.

    Args:
        logic: the domain.
        concept: whose values are voted on.
        answers: N, concept -> value; a state such as `uncertain` is no value.
    """
    values = list(logic.concept(concept).values)
    said = [answer.get(concept) for answer in answers]
    return np.array([values.index(value) if value in values else ABSTAINS for value in said], dtype=np.int64)


def _checked(
    features: ArrayLike, answers: ArrayLike, sources: ArrayLike, n_values: int
) -> tuple[NDArray[np.float64], Votes]:
    """Features (N, D), and votes (N, M + 1) with the model's answer first."""
    x, own, others = np.asarray(features, dtype=np.float64), np.asarray(answers), np.asarray(sources)
    if x.ndim != 2 or own.shape != (len(x),) or others.ndim != 2 or len(others) != len(x):
        raise ValueError(
            f"features, answers, sources have shapes {x.shape}, {own.shape}, {others.shape}: expected (N, D), "
            "(N,), (N, M)"
        )
    if not np.isfinite(x).all():
        raise ValueError("features has a value that is not finite: leave the example out")
    votes = np.concatenate([own[:, None], others], axis=1).astype(np.int64)
    if n_values < 2 or votes.min(initial=0) < ABSTAINS or votes.max(initial=0) >= n_values:
        raise ValueError(f"n_values is {n_values}: give 2 or more, and votes of {ABSTAINS} or 0 to n_values - 1")
    for j in np.flatnonzero((votes[:, 1:] < 0).all(0)):
        raise ValueError(f"source {j} abstains on all {len(x)} examples: leave it out")
    return x, votes
