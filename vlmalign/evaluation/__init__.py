"""Evaluation: metrics with intervals, comparisons, plots, and the HTML report."""

from vlmalign.evaluation.aggregate import aggregate, balanced_accuracy, compare
from vlmalign.evaluation.answer_scores import CaseTruth, ItemScore
from vlmalign.evaluation.baselines import majority_baseline, random_baseline
from vlmalign.evaluation.conclusion import conclude, smallest_detectable
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.html_report import render_report
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.page_parts import Example, ExampleAnswer, Figure
from vlmalign.evaluation.report_metrics import mark_report, score_conversation, score_report
from vlmalign.evaluation.results import check_results

__all__ = [
    "CaseTruth",
    "Estimate",
    "Example",
    "ExampleAnswer",
    "Figure",
    "ItemScore",
    "aggregate",
    "balanced_accuracy",
    "check_results",
    "cluster_estimate",
    "compare",
    "conclude",
    "majority_baseline",
    "mark_report",
    "paired_difference",
    "random_baseline",
    "render_report",
    "score_conversation",
    "score_report",
    "smallest_detectable",
]
