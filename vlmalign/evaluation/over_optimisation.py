"""Best of N by a proxy reward, held against gold: what the proxy gains, and where gold begins to fall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.plots import BLUE, VERMILION, ImageFormat, figure_bytes, figure_style, hue, panel_grid
from vlmalign.evaluation.reward_accuracy import BestOfN, Scores, best_of_n_curve, expected_best
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.scores import read_scores


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


def over_optimisation_plot(
    results: dict[str, Any], *, dark: bool = False, image_format: ImageFormat = "svg"
) -> bytes:
    """Gold (left axis) and proxy (right axis, dashed) of the pick over the KL that picking costs.

    Where the proxy still rises and gold falls, picking pleases the proxy alone (Gao et al. 2023,
    arXiv:2210.10760). Bars are 95 % intervals.

    Args:
        results: of `over_optimisation`.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas, (axes,) = panel_grid(1, columns=1, size=(5.8, 3.6))
        right = axes.twinx()
        looks: list[tuple[Axes, str, str, str, str]] = [
            (axes, "gold", BLUE, "-", "gold score of the pick"),
            (right, "proxy", VERMILION, "--", "proxy score of the pick"),
        ]
        for side, name, colour, line, title in looks:
            shown = hue(colour, dark)
            _bars(side, [(p["kl"], p[name]) for p in results["points"]], shown, line)
            side.set_ylabel(title, color=shown)
            side.tick_params(axis="y", colors=shown)
        right.spines["right"].set_visible(True)
        for point in results["points"]:
            if point["gold"]["mean"] is not None:
                place = (point["kl"], point["gold"]["mean"])
                axes.annotate(f"N {point['n']}", place, xytext=(4, 6), textcoords="offset points", fontsize=8)
        axes.set_xlabel("KL from the policy, log N - (N - 1) / N (nats)")
        axes.grid(axis="y")
        return figure_bytes(canvas, image_format)


def _bars(axes: Axes, points: Sequence[tuple[float, dict[str, Any]]], colour: str, line: str) -> None:
    known = [(kl, score) for kl, score in points if score["mean"] is not None]
    means = [score["mean"] for _, score in known]
    bars = [
        [0.0 if score[end] is None else abs(score[end] - score["mean"]) for _, score in known]
        for end in ("low", "high")
    ]
    kls = [kl for kl, _ in known]
    axes.errorbar(kls, means, yerr=bars, color=colour, linestyle=line, marker="o", ms=4, lw=1.6, elinewidth=1)
