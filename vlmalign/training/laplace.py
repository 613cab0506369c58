"""Fitting the last-layer Laplace approximation of a trained reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from vlmalign.data import Example, ExampleDataset
from vlmalign.models import FeatureCache, RewardModel
from vlmalign.models.laplace import LastLayerLaplace
from vlmalign.records import Preference


@torch.no_grad()
def fit_laplace(
    reward: RewardModel,
    data: ExampleDataset[Preference],
    collator: Callable[[Sequence[Example]], Any],
    batch_size: int,
    *,
    features: FeatureCache | None = None,
) -> LastLayerLaplace:
    """The posterior of the last layer given all pairs of the training data, each counted once.

    Args:
        reward: trained; put into evaluation mode and back.
        data: its training pairs.
        collator: examples -> batch.
        batch_size: pairs of a forward pass.
        features: where features of images come from, if not from the model's own vision tower.
    """
    training = reward.training
    reward.eval()
    differences = []
    for start in range(0, len(data.records), batch_size):
        examples = [data.example(i) for i in range(start, min(start + batch_size, len(data.records)))]
        batch = collator(examples)["batch"].to(reward.head.weight.device)
        read = reward.head.features(reward.states(batch, features=features))[0]
        chosen, rejected = read.view(-1, 2, read.shape[-1]).unbind(1)
        differences.append(chosen - rejected)
    reward.train(training)
    return LastLayerLaplace.fit(torch.cat(differences), reward.head.weight[0, 0])
