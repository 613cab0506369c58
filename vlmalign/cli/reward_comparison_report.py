"""The report of a comparison: results, calibration as pictures, and pairs that the ensemble orders wrongly."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from vlmalign.cli.demo_plan import Demo
from vlmalign.cli.reward_comparison_plan import CLIMBED
from vlmalign.cli.reward_comparison_results import judged
from vlmalign.evaluation import Figure
from vlmalign.evaluation.calibration import calibration_figures
from vlmalign.evaluation.calibration_plots import reliability_plot, risk_coverage_plot
from vlmalign.evaluation.judged_pairs import JudgedPairs
from vlmalign.evaluation.reward_comparison_report import render_comparison
from vlmalign.evaluation.reward_metrics import confident_mistakes
from vlmalign.evaluation.reward_report import show_mistakes
from vlmalign.evaluation.risk_coverage import risk_coverage
from vlmalign.records import Preference, RecordFolder

SHOWN = ("scalar", "ensemble", "critique", "mixture")
MISTAKES = 4


def write_comparison_report(results: Mapping[str, Any], demo: Demo, out: Path) -> Path:
    """Write the page of a finished comparison."""
    read = {name: judged(demo, name, "held_out") for name in SHOWN if name in results["rewards"]}
    scored = {name: pairs for name, pairs in read.items() if len(_margins(pairs)[0])}
    figures = [_reliability(scored), _risk(scored)]
    folder = RecordFolder(demo.root / "test_pairs" / "held_out", Preference)
    mistakes = show_mistakes(CLIMBED, confident_mistakes(judged(demo, CLIMBED, "held_out"), MISTAKES), folder)
    return render_comparison(results, figures, mistakes, out)


def _margins(scored: JudgedPairs) -> tuple[np.ndarray, list[Hashable]]:
    known = [(pair.margin, pair.group) for pair in scored.pairs if pair.margin is not None]
    return np.array([margin for margin, _ in known], dtype=float), [group for _, group in known]


def _reliability(scored: Mapping[str, JudgedPairs]) -> Figure:
    found = {}
    for name, pairs in scored.items():
        margins, groups = _margins(pairs)
        found[name] = calibration_figures(expit(margins), np.ones(len(margins)), groups, pairs=True)
    caption = "Held-out pairs, sigmoid(margin) as it is. Numbers: pairs in a bin."
    return Figure.drawn("Reliability", caption, reliability_plot, found)


def _risk(scored: Mapping[str, JudgedPairs]) -> Figure:
    curves = {}
    for name, pairs in scored.items():
        margins, groups = _margins(pairs)
        decided = np.flatnonzero(margins)
        wrong = (margins[decided] < 0).astype(float)
        curves[name] = risk_coverage(-np.abs(margins[decided]), wrong, [groups[i] for i in decided])
    caption = "Held-out pairs; those with the smallest margins are left out first."
    return Figure.drawn("Risk over coverage", caption, risk_coverage_plot, curves)
