"""Several runs against one: one family of tests, adjusted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmalign.evaluation.paired_tests import adjust_holm
from vlmalign.evaluation.run_comparison import LESS, outcomes


def adjust_together(compared: Sequence[Mapping[str, Any]]) -> int:
    """Holm's p over all metrics of all comparisons, and apart from these over all concepts of all; in place.

    Wins, ties and losses after Holm are counted anew.

    Args:
        compared: of each further run what `compare_runs` gave.

    Returns:
        How many metrics were tested in all.

    Example:
        >>> one = {"metrics": {"x": {"p": 0.01}, "y": {"p": 0.04}}, "concepts": {}}
        >>> two = {"metrics": {"x": {"p": 0.03}, "y": {"p": None}}, "concepts": {}}
        >>> adjust_together([one, two]), one["metrics"]["x"]["p_holm"], two["metrics"]["x"]["p_holm"]
        (3, 0.03, 0.06)
    """
    for family in ("metrics", "concepts"):
        tested = [each for found in compared for each in found[family].values() if "p" in each]
        adjust_holm(tested)
    for found in compared:
        if "win_tie_loss" in found:
            told = found["win_tie_loss"]
            tasks = {name: each for name, each in found[told["over"]].items() if name in told["tasks"]}
            told["after_holm"] = outcomes(tasks, [n for n, e in tasks.items() if e[LESS]])["after_holm"]
    return sum(each["p"] is not None for found in compared for each in found["metrics"].values() if "p" in each)
