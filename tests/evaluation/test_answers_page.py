"""The page of `vlmalign evaluate answers`."""

from vlmalign.evaluation import Estimate
from vlmalign.evaluation.answers_page import render_answers


def test_the_figure_is_of_a_metric_of_which_something_was_scored(tmp_path):
    """A table that tells only some concepts never gives a whole report right or wrong."""
    figures = {
        "whole_report_accuracy": Estimate(None, None, None, 0, 0, 12, "none").to_dict(),
        "in_scope_accuracy": Estimate(0.5, 0.4, 0.6, 12, 3, 0, "t").to_dict(),
    }
    results = {
        "answers": {"mine": figures},
        "baselines": {"first_value": figures},
        "counts": {"mine": {"scored": 12}},
    }
    page = render_answers(results, {}, [], tmp_path / "page.html").read_text()
    assert '<figcaption class="title">In-scope claims right</figcaption>' in page
