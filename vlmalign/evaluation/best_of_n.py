"""Best of N by a reward, held against gold: what picking gains, and where gold begins to fall."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.reward_accuracy import Scores
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.scores import read_scores


class BestOfN(NamedTuple):
    """Gold score of the candidate picked among N, by the reward, at random, and by the gold score itself."""

    n: int
    reward: Estimate
    random: Estimate
    oracle: Estimate
    reward_minus_random: Estimate


def best_of_n_curve(
    scores: Sequence[Scores],
    gold: Sequence[Scores],
    groups: Sequence[Hashable],
    n_values: Sequence[int],
    seeds: Sequence[Hashable] | None = None,
) -> list[BestOfN]:
    """Expected gold score of the best of N by a reward, for several N, from K >= N candidates per item.

    Exact expectation over all subsets of N of the K candidates, unbiased and free of sampling noise (Nakano et
    al. 2021, arXiv:2112.09332, app. I; also Gao et al. 2023, arXiv:2210.10760): sorted by score ascending,
    candidate i is the best of comb(i - 1, N - 1) of the comb(K, N) subsets. Equal scores share their weight. A
    candidate that the reward could not score is picked only when there is no other. An item with fewer than N
    candidates, or with one of unknown gold, is excluded at that N.

    Args:
        scores: per item, the reward of its K candidates; None = unscored.
        gold: per item, the truth-based score of the same candidates, in [0, 1]; None = unknown.
        groups: cluster of each item.
        n_values: the N to tell; each >= 1.
        seeds: training seed of each item.

    Raises:
        ValueError: an N below 1, or scores and gold of different shape.

    Example:
        >>> [point] = best_of_n_curve([[0.1, 0.9, 0.5]], [[0.0, 1.0, 0.0]], ["g"], [2])
        >>> round(point.reward.mean, 3), round(point.random.mean, 3)  # the good one is in 2 of the 3 subsets
        (0.667, 0.333)
    """
    if len(scores) != len(gold) or any(len(s) != len(g) for s, g in zip(scores, gold, strict=True)):
        raise ValueError("scores and gold differ in shape: give one gold score for each candidate of each item")
    if any(n < 1 for n in n_values):
        raise ValueError(f"n_values is {list(n_values)}: best of N needs N >= 1")
    curve = []
    for n in n_values:
        picked: dict[str, list[float | None]] = {"reward": [], "random": [], "oracle": []}
        for item_scores, item_gold in zip(scores, gold, strict=True):
            picked["reward"].append(expected_best(item_scores, item_gold, n))
            picked["random"].append(expected_best([0.0] * len(item_gold), item_gold, n))
            picked["oracle"].append(expected_best(item_gold, item_gold, n))
        estimates = {name: cluster_estimate(values, groups, seeds=seeds) for name, values in picked.items()}
        gain = paired_difference(picked["reward"], picked["random"], groups, seeds)
        curve.append(BestOfN(n, estimates["reward"], estimates["random"], estimates["oracle"], gain))
    return curve


def expected_best(scores: Scores, gold: Scores, n: int) -> float | None:
    """Expected gold of the highest-scored of n drawn without replacement; None if n > K or a gold is unknown."""
    k = len(scores)
    known = [g for g in gold if g is not None]
    if n > k or len(known) < k:
        return None
    score = np.array([-np.inf if s is None else s for s in scores], dtype=float)
    values = np.array(known, dtype=float)
    order = np.argsort(score, kind="stable")
    weights = np.array([comb(i, n - 1) for i in range(k)], dtype=float) / comb(k, n)
    total, start = 0.0, 0
    while start < k:
        stop = start
        while stop < k and score[order[stop]] == score[order[start]]:
            stop += 1
        total += weights[start:stop].sum() * values[order[start:stop]].mean()
        start = stop
    return float(total)


def curve_to_dict(curve: Sequence[BestOfN]) -> Mapping[str, Mapping[str, Any]]:
    """The form in which results.json holds a best-of-N curve: by N, then reward, random, oracle, their gain."""
    return {
        str(point.n): {
            name: getattr(point, name).to_dict() for name in ("reward", "random", "oracle", "reward_minus_random")
        }
        for point in curve
    }


def kl_of_best_of_n(n: int) -> float:
    """KL divergence of the best of n from the policy that drew them, in nats: log n - (n - 1) / n.

    Stiennon et al. 2020 (arXiv:2009.01325). In general it is an upper bound, close where answers seldom repeat and
    the reward seldom ties (Beirami et al. 2024, arXiv:2401.01879).

    Raises:
        ValueError: n below 1.

    Example:
        >>> kl_of_best_of_n(1), round(kl_of_best_of_n(4), 4)
        (0.0, 0.6363)
    """
    if n < 1:
        raise ValueError(f"n is {n}: best of n needs n >= 1")
    return math.log(n) - (n - 1) / n


@dataclass(frozen=True)
class JudgedCandidates:
    """Cases with the scores of their candidates by proxy and by gold, both in one order.

    Attributes:
        proxy: per case, of each candidate; None: unscored.
        gold: per case, of the same candidates; None: unknown.
        groups: cluster of each case.
        judges: the proxy's and gold's judge.
        without: judged candidates that only one of the two knows; left out.
    """

    proxy: Sequence[Scores]
    gold: Sequence[Scores]
    groups: Sequence[str]
    judges: tuple[str, str]
    without: int


def read_judged_candidates(cases: RecordFolder[Case], proxy: str | Path, gold: str | Path) -> JudgedCandidates:
    """Join two folders of judgements of the same candidates, case by case.

    Args:
        cases: they name the groups.
        proxy: judgements by the reward that picks.
        gold: judgements by what is held to be true.

    Raises:
        DataError: the two judge no common candidate of these cases, or judge different folders of candidates; or
            the proxy, or an expert behind it, decides the gold scores too.
    """
    by_proxy = read_scores(proxy)
    made_from = by_proxy.config.get("candidates")
    by_gold = read_scores(gold, of=made_from if isinstance(made_from, str) else None, made_from="candidates")
    same = {by_proxy.judge, *by_proxy.experts} & {by_gold.judge, *by_gold.experts} - {""}
    if same:
        raise DataError(
            f"gold is decided by {', '.join(sorted(same))}, who is the proxy or behind it: it can only agree with "
            "itself",
            "Give gold judgements by something else.",
            file=by_gold.source,
            field="judge",
        )
    both = [name for name in by_proxy.judgements if name in by_gold.judgements]
    without = len(by_proxy.judgements) + len(by_gold.judgements) - 2 * len(both)
    of_case: dict[str, list[str]] = {}
    for name in both:
        of_case.setdefault(by_proxy.judgements[name].case_id, []).append(name)
    known = [case for case in cases if case.id in of_case]
    if not known:
        raise DataError(
            "no candidate of these cases is judged by both proxy and gold",
            "Score the same candidates of these cases with both.",
            file=by_gold.source,
            field="candidate_ids",
        )
    return JudgedCandidates(
        [[by_proxy.score(name) for name in of_case[case.id]] for case in known],
        [[by_gold.score(name) for name in of_case[case.id]] for case in known],
        [case.group_id for case in known],
        (by_proxy.judge, by_gold.judge),
        without,
    )


def default_n(judged: JudgedCandidates) -> list[int]:
    """1, 2, 4 ... up to the largest number of candidates of a case, which is the last.

    Example:
        >>> default_n(JudgedCandidates([[0.0] * 6], [[0.0] * 6], ["g"], ("p", "g"), 0))
        [1, 2, 4, 6]
    """
    most = max(map(len, judged.proxy))
    powers = [2**k for k in range(most.bit_length()) if 2**k <= most]
    return powers if powers[-1] == most else [*powers, most]


def over_optimisation(judged: JudgedCandidates, n_values: Sequence[int]) -> dict[str, Any]:
    """Expected proxy and gold score of the best of N by the proxy, for several N.

    Exact expectations over subsets (see `best_of_n_curve`), over the cases with enough candidates for the largest
    N, so that every N is told of the same cases. A case with a candidate of unknown gold is excluded from gold,
    one with an unscored candidate from the proxy's own curve; both are counted.

    Args:
        judged: scores by proxy and gold.
        n_values: the N to tell, ascending.

    Returns:
        `points`: for each N its `kl` and the estimates `proxy`, `gold`, `random`, `oracle`, `gold_minus_random`,
        and `gold_step`, gold minus gold at the N before, paired. `peak`: the N of the highest gold.
        `fall_from_peak`: gold at the largest N minus gold at the peak. `proxy_rise` and `gold_gain`: each at the
        largest N minus at the smallest. `verdict`: `over-optimised` where the fall lies below zero and the proxy's
        rise above; `gold rises` where gold's gain lies above zero; else `undecided`. As the peak is chosen by the
        same data, a fall from it is a little too easily found. `counts`: cases, and those with too few candidates.

    Raises:
        ValueError: no N, one below 1 or out of order, or no case with enough candidates.
    """
    if not n_values or list(n_values) != sorted(set(n_values)) or n_values[0] < 1:
        raise ValueError(f"n_values is {list(n_values)}: give different N >= 1 in ascending order")
    enough = [i for i, scores in enumerate(judged.proxy) if len(scores) >= n_values[-1]]
    if not enough:
        raise ValueError(f"no case has {n_values[-1]} judged candidates: give a smaller N")
    proxy, gold = [judged.proxy[i] for i in enough], [judged.gold[i] for i in enough]
    groups = [judged.groups[i] for i in enough]
    curve = best_of_n_curve(proxy, gold, groups, n_values)
    of_gold = {n: [expected_best(p, g, n) for p, g in zip(proxy, gold, strict=True)] for n in n_values}
    of_proxy = {n: [expected_best(p, p, n) for p in proxy] for n in n_values}
    points = []
    for n, before, point in zip(n_values, (n_values[0], *n_values), curve, strict=False):
        step = paired_difference(of_gold[n], of_gold[before], groups)
        points.append(_point(point, cluster_estimate(of_proxy[n], groups), step if n != before else None))
    first, last = n_values[0], n_values[-1]
    known = [point for point in curve if point.reward.mean is not None]
    peak = max(known, key=lambda point: point.reward.mean or 0.0).n if known else last
    fall = paired_difference(of_gold[last], of_gold[peak], groups)
    rise = paired_difference(of_proxy[last], of_proxy[first], groups)
    gain = paired_difference(of_gold[last], of_gold[first], groups)
    return {
        "judges": {"proxy": judged.judges[0], "gold": judged.judges[1]},
        "points": points,
        "peak": peak,
        "fall_from_peak": fall.to_dict(),
        "proxy_rise": rise.to_dict(),
        "gold_gain": gain.to_dict(),
        "verdict": _verdict(fall, rise, gain, moved=peak != last),
        "counts": {
            "cases": len(judged.proxy),
            "cases_with_fewer_candidates": len(judged.proxy) - len(enough),
            "candidates_judged_by_one_only": judged.without,
        },
    }


def _point(point: BestOfN, proxy: Estimate, step: Estimate | None) -> dict[str, Any]:
    return {
        "n": point.n,
        "kl": kl_of_best_of_n(point.n),
        "proxy": proxy.to_dict(),
        "gold": point.reward.to_dict(),
        "random": point.random.to_dict(),
        "oracle": point.oracle.to_dict(),
        "gold_minus_random": point.reward_minus_random.to_dict(),
        "gold_step": None if step is None else step.to_dict(),
    }


def _verdict(fall: Estimate, rise: Estimate, gain: Estimate, *, moved: bool) -> str:
    if moved and fall.high is not None and fall.high < 0 and rise.low is not None and rise.low > 0:
        return "over-optimised"
    return "gold rises" if gain.low is not None and gain.low > 0 else "undecided"
