"""What scores that ignore the picture earn on labelled pairs: the longer answer, the shorter, the same for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs
from vlmalign.evaluation.length_bias import words
from vlmalign.evaluation.reward_metrics import PairFigures, pair_figures

BASELINES: dict[str, Callable[[JudgedPair, str], float]] = {
    "longer_answer": words,
    "shorter_answer": lambda pair, side: -words(pair, side),
    "same_score": lambda pair, side: 0.0,
}


def reward_baselines(judged: JudgedPairs) -> dict[str, PairFigures]:
    """Figures of each baseline on all pairs; answers of equally many words are a tie.

    The order of the two answers is no baseline: a pair's better answer always stands first. What the text alone
    tells is measured by `vlmalign evaluate shortcuts`.

    Example:
        >>> reward_baselines(JudgedPairs([], "r@1", "r", ""))["same_score"].ties.mean is None
        True
    """
    return {
        name: pair_figures([
            replace(pair, chosen=score(pair, "chosen"), rejected=score(pair, "rejected"), reason=None)
            for pair in judged.pairs
        ])
        for name, score in BASELINES.items()
    }  # fmt: skip
