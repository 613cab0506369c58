"""A linear classifier of prompts into their cases' domains, the outer gate that learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vlmalign.models.task_router import TaskRouter
from vlmalign.records import Case
from vlmalign.training.ridge_heads import split_by_group


def fit_domain_router(
    prompts: Tensor, cases: Sequence[Case], *, share: float, seed: int
) -> tuple[TaskRouter, dict[str, Any]]:
    """A router whose tasks are the domains of the cases, told from the state of their prompts.

    Multinomial logistic regression (penalty 1) on standardised states; its accuracy is measured on held-out
    groups, then it is fitted on all.

    Args:
        prompts: states of the prompts, (N, H).
        cases: the case of each, N.
        share: of groups that are held out.
        seed: of the draw.

    Returns:
        The router, and `router_accuracy` beside `router_majority`, what always naming the commonest domain gets on
        the held-out groups.

    Raises:
        ValueError: fewer than two domains or groups, or a domain that only the held-out groups have.
    """
    domains = np.array([case.domain for case in cases])
    tasks = sorted(set(domains.tolist()))
    if len(tasks) < 2:
        raise ValueError(f"the cases are all of domain {tasks[0]!r}, expected at least 2 domains: drop tasks.")
    fit, held = split_by_group([case.group_id for case in cases], share, seed)
    if set(domains[fit].tolist()) != set(tasks):
        raise ValueError(
            f"only {sorted(set(domains[fit].tolist()))} are left to fit on: give more groups of each."
        )
    states = prompts.double().numpy()
    mean, std = states.mean(0), states.std(0) + 1e-6
    scaled = (states - mean) / std
    guess = _fit(scaled[fit], domains[fit]).predict(scaled[held])
    names, counts = np.unique(domains[fit], return_counts=True)
    figures = {
        "router_accuracy": float((guess == domains[held]).mean()),
        "router_majority": float((domains[held] == names[counts.argmax()]).mean()),
    }
    model = _fit(scaled, domains)
    weight, bias = model.coef_ / std, model.intercept_ - model.coef_ @ (mean / std)
    if len(tasks) == 2:  # scikit-learn keeps one row, for the second class
        weight, bias = np.stack([np.zeros_like(weight[0]), weight[0]]), np.array([0.0, bias[0]])
    router = TaskRouter(tasks, by="learned", width=prompts.shape[1])
    router.weight.copy_(torch.from_numpy(weight))
    router.bias.copy_(torch.from_numpy(bias))
    return router, figures


def _fit(states: Any, domains: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(states, domains)
