"""The page of CheXalign: does aligning with a judge make reports truer, or only longer?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.page_parts import Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.plots import forest_plot
from vlmalign.evaluation.report_view import Row, Table, cell_of, cost_rows, flat_rows, methods_of

#: figure -> column head, note, whether it is a share
TRUTH = {
    "report_agreement": ("agreement", "with the reference report", True),
    "length_controlled": ("length-controlled", "agreement / max(length ratio, 1)", True),
    "without_error": ("without error", "against the reference report", True),
    "whole_report_accuracy": ("whole report right", "against what is known of the picture", True),
    "unsupported": ("unsupported", "says what no single image supports; less is better", True),
    "invalid": ("no agreement", "nothing read or compared; left out of the agreement", True),
}
LENGTH = {
    "words": ("words", "per report", False),
    "words_over_reference": ("x reference", "all words / all words of the references", False),
    "words_over_start": ("x before", "all words / all words of the policy before", False),
    "words_ratio": ("ratio", "mean of words / words of the reference", False),
    "words_per_claim": ("verbosity", "words per claim that can be read", False),
    "longer_than_reference": ("longer", "than their reference", True),
    "cut": ("cut", "by the token limit", True),
}
PAIRS = {
    "chosen_words": ("words, better", "", False),
    "rejected_words": ("words, worse", "", False),
    "chosen_over_rejected": ("better / worse", "all words", False),
    "chosen_longer": ("better is longer", "share of pairs", True),
    "margin": ("gap", "of the score", False),
}
#: arm -> what it is
NOTES = {
    "sft": "the policy whose samples were judged",
    "sft_more": "control: more reports, for the operations of dpo and its samples",
    "dpo": "Rafailov et al. 2023",
    "lc_dpo": "a price per token (R-DPO)",
    "ipo": "averaged over tokens",
    "kto": "answers one by one",
    "orpo": "no reference policy",
    "dpo_by_length_controlled": "dpo, pairs by the length-controlled score",
}
PUBLISHED = (
    "Published for chest radiographs (Hein et al. 2024, CheXagent-2): 55.8 words before, 140.2 (2.51 times) after "
    "DPO on pairs by plain GREEN, 68.7 (1.23 times) by length-controlled GREEN; references have 58.4."
)


def render_chexalign(results: Mapping[str, Any], out: str | Path) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: as results.json holds them.
        out: the file to write; replaced in one step.
    """
    arms, apart = results["arms"], results["against_control"]
    config = results["config"]
    return write_page(
        out,
        "chexalign.html.j2",
        source="phantoms" if config["cases"] is None else config["cases"],
        seed=config["seed"],
        minutes=sum(results["seconds"].values()) / 60,
        counts=results["counts"],
        judge=results["judge"],
        graded=config["judge"] is None,
        findings=sentences(results),
        published=PUBLISHED,
        figures=[_forest(arms, name, *TRUTH_PLOTS[name]) for name in TRUTH_PLOTS],
        truth=figure_table(arms, TRUTH),
        truth_apart=figure_table(apart, TRUTH, signed=True),
        length=figure_table(arms, LENGTH),
        length_apart=figure_table(apart, {k: v for k, v in LENGTH.items() if k in apart["sft"]}, signed=True),
        compared=figure_table(results["compared"], {**TRUTH, "words": LENGTH["words"]}, signed=True),
        pairs=figure_table(results["pairs"], PAIRS),
        pair_counts=[(name, flat_rows({"pairs": found["pairs"], **found["counts"]}))
                     for name, found in results["pairs"].items()],
        invalid=[(arm, flat_rows(found["invalid_reasons"])) for arm, found in arms.items()],
        cost=cost_rows(results),
        settings=flat_rows({"config": config, "versions": results["versions"]}),
    )  # fmt: skip


#: figure -> title and label of its picture
TRUTH_PLOTS = {
    "report_agreement": ("Agreement with the reference report", "agreement", True),
    "length_controlled": ("Length-controlled agreement", "agreement / max(length ratio, 1)", True),
    "words_over_start": ("Length over the policy before", "times as many words", False),
}


def figure_table(
    arms: Mapping[str, Mapping[str, Any]], columns: Mapping[str, tuple[str, str, bool]], *, signed: bool = False
) -> Table:
    """Arms down, figures across; a figure that an arm does not have is a dash.

    Args:
        arms: name -> figure -> score.
        columns: figure -> column head, note, whether it is a share.
        signed: the figures are differences.
    """
    rows = []
    for name, scores in arms.items():
        cells = [cell_of(scores.get(key), share=share, signed=signed) for key, (_, _, share) in columns.items()]
        rows.append(Row(name.replace("_", " "), NOTES.get(name, ""), cells))
    shown = [scores[key] for scores in arms.values() for key in columns if scores.get(key) is not None]
    return Table([(title, note) for title, note, _ in columns.values()], rows, methods_of(shown))


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What the run says, in words: length first, then agreement and truth, nulls told as nulls.

    Args:
        results: as results.json holds them.
    """
    arms, compared = results["arms"], results["compared"]["dpo_minus_dpo_by_length_controlled"]
    found = [
        f"{name}: {_number(arms[name]['words'])} words a report, {_number(arms[name]['words_over_start'], 2)} "
        f"times the policy before and {_number(arms[name]['words_over_reference'], 2)} times the reference."
        for name in ("dpo", "dpo_by_length_controlled")
    ]
    found.append(f"Words, dpo minus dpo_by_length_controlled: {_verdict(compared['words'], 1, ' words')}")
    for figure in ("report_agreement", "length_controlled", "whole_report_accuracy"):
        title = TRUTH[figure][0]
        for arm, differences in results["against_control"].items():
            if arm != "sft" and differences[figure]["mean"] is not None:
                found.append(
                    f"{title.capitalize()}, {arm} minus sft_more: {_verdict(differences[figure], 100, ' points')}"
                )
    return found


def _number(score: Mapping[str, Any], digits: int = 1) -> str:
    if score["mean"] is None:
        return "unknown"
    interval = "" if score["low"] is None else f" ({score['low']:.{digits}f} to {score['high']:.{digits}f})"
    return f"{score['mean']:.{digits}f}{interval}"


def _verdict(score: Mapping[str, Any], scale: float, unit: str) -> str:
    if score["mean"] is None:
        return "nothing could be compared."
    told = f"{scale * score['mean']:+.1f}{unit}"
    if score["low"] is None:
        return f"{told}, without an interval."
    low, high = scale * score["low"], scale * score["high"]
    tail = "no difference shown" if low <= 0 <= high else "more" if low > 0 else "less"
    return f"{told} ({low:+.1f} to {high:+.1f}): {tail}.".replace("-", "−")


def _forest(arms: Mapping[str, Mapping[str, Any]], name: str, title: str, label: str, percent: bool) -> Figure:
    estimates = {arm: Estimate.from_dict(scores[name]) for arm, scores in arms.items()}
    n = max((estimate.n for estimate in estimates.values()), default=0)
    caption = f"Greedy reports, n up to {n}; 95% intervals over groups."
    return Figure.drawn(title, caption, forest_plot, estimates, label=label, percent=percent)
