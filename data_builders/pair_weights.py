"""Pairs weighted by how sure a reward is of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from data_builders.loop import commit_each
from data_builders.reward_scores import margin_of
from vlmalign.records import DatasetBuild, Preference, RecordFolder
from vlmalign.records.scores import read_scores

Rule = Literal["probability", "exp", "inverse_variance"]


def sureness(rule: Rule, margin: float, std: float) -> float:
    """Weight of a pair, in [0, 1], from a reward's margin and its standard deviation.

    `probability`: that the reward's own order is the labelled one, Phi(margin / std); `exp`: exp(-std), Ctrl-U's
    weighting (Zhang et al. 2024, arXiv:2410.11236); `inverse_variance`: 1 / (1 + std^2).

    Example:
        >>> sureness("probability", 0.0, 2.0), sureness("inverse_variance", 5.0, 2.0)
        (0.5, 0.2)
    """
    if rule == "exp":
        return math.exp(-std)
    if rule == "inverse_variance":
        return 1 / (1 + std**2)
    if std == 0:
        return 0.5 if margin == 0 else float(margin > 0)
    return 0.5 * (1 + math.erf(margin / std / math.sqrt(2)))


def weigh_pairs(
    preferences: str | Path,
    judged: str | Path,
    out: str | Path,
    *,
    rule: Rule = "probability",
    unscored: Literal["keep", "drop"] = "keep",
    overwrite: bool = False,
) -> Path:
    """Write the pairs with their weight times `sureness`; training multiplies their losses by it.

    Args:
        preferences: Preference folder.
        judged: judgements of both sides of its pairs, as `vlmalign score --pairs` writes them.
        out: the new Preference folder.
        rule: see `sureness`.
        unscored: what becomes of a pair of which a side has no score: kept as it is, or dropped; counted either
            way.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder; its manifest counts `unscored` and `dropped` pairs.

    Raises:
        DataError: judgements of other pairs, or ones that know no standard deviation.
    """
    folder = RecordFolder(preferences, Preference)
    scores = read_scores(judged, of=folder.sha256, made_from="pairs")
    config = {
        "builder": "pair_weights@1", "preferences": folder.sha256, "judged": scores.sha256, "rule": rule,
        "unscored": unscored,
    }  # fmt: skip

    def weighted(pair: Preference) -> tuple[list[Preference], dict[str, int]]:
        margin = margin_of(pair, scores, std_for=f"rule {rule!r}")
        if margin.value is None or margin.std is None:
            dropped = unscored == "drop"
            return ([] if dropped else [pair]), {"unscored": 1, "dropped": int(dropped)}
        weight = pair.weight * sureness(rule, margin.value, margin.std)
        note = {"weighted_by": {"judge": scores.judge, "rule": rule, "margin_std": margin.std}}
        return [pair.model_copy(update={"weight": weight, "provenance": {**pair.provenance, **note}})], {}

    data_use = folder.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_each(build, folder, weighted)
    return build.path
