"""Does a reward go by length: rank correlation within prompts, and accuracy where the longer answer is wrong."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    paired_difference,
    ratio_statistic,
)
from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs
from vlmalign.evaluation.rare_events import one_sided_bound
from vlmalign.evaluation.reward_metrics import half_ties
from vlmalign.records import Message
from vlmalign.records.scores import SIDES

Length = Callable[[JudgedPair, str], float | None]


def words(pair: JudgedPair, side: str) -> float:
    """Words of the assistant's turns of one side."""
    return float(sum(len(turn.text.split()) for turn in _turns(pair, side) if turn.role == "assistant"))


def tokens(pair: JudgedPair, side: str) -> float | None:
    """Tokens of one side, where the pair's builder recorded them (`provenance["length"]`)."""
    found = pair.pair.provenance.get("length")
    number = found.get(f"{side}_tokens") if isinstance(found, dict) else None
    return None if number is None else float(number)


def length_figures(judged: JudgedPairs, length: Length = words) -> dict[str, Estimate]:
    """How a reward's scores go with length.

    Args:
        judged: pairs with scores.
        length: of one side of a pair; None where it is not known.

    Returns:
        `spearman`: see `spearman_within_prompts`. `longer_wins`: accuracy of the rule that the longer answer is
        the better one. `reward_minus_longer_wins`: the reward's accuracy minus the rule's, paired.
        `chosen_longer`, `chosen_shorter`: the reward's accuracy where the better answer is the longer one, and
        where it is the shorter one. `longer_minus_shorter`: their difference, zero for a reward whose errors have
        nothing to do with length.
    """
    groups = judged.groups
    half = half_ties(judged.pairs)
    gaps: list[float | None] = []
    for pair in judged.pairs:
        chosen, rejected = (length(pair, side) for side in SIDES)
        gaps.append(None if chosen is None or rejected is None else chosen - rejected)
    rule = [
        None if gap is None or verdict is None else float(gap > 0) + 0.5 * float(gap == 0)
        for gap, verdict in zip(gaps, half, strict=True)
    ]
    longer, shorter = (
        [value if gap is not None and sign * gap > 0 else None for value, gap in zip(half, gaps, strict=True)]
        for sign in (1, -1)
    )
    return {
        "spearman": spearman_within_prompts(judged, length),
        "longer_wins": cluster_estimate(rule, groups, proportion=True),
        "reward_minus_longer_wins": paired_difference(half, rule, groups),
        "chosen_longer": cluster_estimate(longer, groups, proportion=True),
        "chosen_shorter": cluster_estimate(shorter, groups, proportion=True),
        "longer_minus_shorter": difference_of_means(longer, shorter, groups),
    }


def spearman_within_prompts(judged: JudgedPairs, length: Length = words) -> Estimate:
    r"""Rank correlation of score and length among the answers to one prompt, pooled over prompts.

    Ranks r of the scores and l of the lengths are taken within each prompt p, ties sharing theirs, and centred:
    rho = sum_p sum_i r_pi l_pi / sqrt(sum_p sum_i r_pi^2 * sum_p sum_i l_pi^2). For one prompt this is Spearman's
    coefficient; for prompts of two answers it is the share of concordant minus that of discordant pairs. An answer
    that stands in several pairs counts once. The interval is clustered by group.

    Returns:
        The estimate, over n answers. Nothing where no prompt has answers of different length, or of different
        score.
    """
    prompts: dict[Hashable, dict[tuple[Message, ...], tuple[float, float]]] = {}
    excluded: set[tuple[Hashable, tuple[Message, ...]]] = set()
    for pair in judged.pairs:
        for side, score in zip(SIDES, (pair.chosen, pair.rejected), strict=True):
            turns = _turns(pair, side)
            asked = tuple(turn for turn in turns if turn.role != "assistant")
            key = (pair.group, pair.pair.case_id, pair.pair.prompt, asked)
            size = length(pair, side)
            if score is None or size is None:
                excluded.add((key, turns))
            else:
                prompts.setdefault(key, {}).setdefault(turns, (score, size))
    several = {key: list(answers.values()) for key, answers in prompts.items() if len(answers) > 1}
    n = sum(map(len, several.values()))
    alone = sum(map(len, prompts.values())) - n
    sums = np.array([_rank_sums(answers) for answers in several.values()]).reshape(-1, 3)
    if not sums[:, 1].sum() or not sums[:, 2].sum():
        return Estimate.nothing(len(excluded) + alone + n)
    cells, cell_seeds, cell_groups = number_cells([key[0] for key in several], None, False)  # type: ignore[index]
    of_cell = np.zeros((len(cell_groups), 3))
    np.add.at(of_cell, cells, sums)

    def statistic(weights: Array) -> Array:
        together, of_scores, of_lengths = (weights @ of_cell).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(together / np.sqrt(of_scores * of_lengths))

    estimate = estimate_statistic(statistic, cell_seeds, cell_groups, n=n, excluded=len(excluded) + alone)
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return estimate
    mean = min(1.0, max(-1.0, estimate.mean))
    low, high = max(-1.0, estimate.low), min(1.0, estimate.high)
    if 1 - abs(mean) < 1e-9:  # no spread to build on: as for a share that is always 1
        bound = 1 - 2 * one_sided_bound(estimate.n_groups)
        low, high = (min(low, bound), 1.0) if mean > 0 else (-1.0, max(high, -bound))
    return replace(estimate, mean=mean, low=min(low, mean), high=max(high, mean))


def difference_of_means(
    a: Sequence[float | None], b: Sequence[float | None], groups: Sequence[Hashable]
) -> Estimate:
    """Mean of the known values of a minus that of b, two subsets of the same pairs, resampled together by group.

    Example:
        >>> difference_of_means([1.0, None, 1.0, None], [None, 0.0, None, 1.0], list("wxyz")).mean
        0.5
    """
    known = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x is not None or y is not None]
    excluded = len(a) - len(known)
    counted = [sum(values[i] is not None for i in known) for values in (a, b)]
    if not all(counted):
        return Estimate.nothing(len(a))
    cells, cell_seeds, cell_groups = number_cells([groups[i] for i in known], None, False)

    def mean_of(values: Sequence[float | None]) -> Callable[[Array], Array]:
        here = np.array([values[i] is not None for i in known])
        some = np.array([values[i] for i in known if values[i] is not None], dtype=float)
        size = len(cell_groups)
        sums = np.bincount(cells[here], some, minlength=size).astype(float)
        return ratio_statistic(sums, np.bincount(cells[here], minlength=size).astype(float))

    of_a, of_b = mean_of(a), mean_of(b)
    estimate = estimate_statistic(
        lambda weights: of_a(weights) - of_b(weights),
        cell_seeds,
        cell_groups,
        n=len(known),
        excluded=excluded,
    )
    if estimate.mean is None or estimate.low is None or estimate.high is None or estimate.low < estimate.high:
        return estimate
    bound = one_sided_bound(estimate.n_groups)  # no spread to build on: as for a share that never varies
    low, high = max(-1.0, estimate.low - 2 * bound), min(1.0, estimate.high + 2 * bound)
    return replace(estimate, low=low, high=high, method=f"Clopper-Pearson, {estimate.n_groups} groups")


def _rank_sums(answers: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Sums over one prompt, ranks centred: score times length, score squared, length squared."""
    scores, lengths = (rankdata(column) for column in zip(*answers, strict=True))
    scores, lengths = scores - scores.mean(), lengths - lengths.mean()
    return float(scores @ lengths), float(scores @ scores), float(lengths @ lengths)


def _turns(pair: JudgedPair, side: str) -> tuple[Message, ...]:
    found: tuple[Message, ...] = getattr(pair.pair, side)
    return found


def as_dicts(figures: dict[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Figures in the form in which JSON holds them."""
    return {name: estimate.to_dict() for name, estimate in figures.items()}
