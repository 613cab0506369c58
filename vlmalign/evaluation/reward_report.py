"""The page on rewards: accuracy by subset, one against another, and their most confident mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlmalign.evaluation.calibration import CalibrationFigures
from vlmalign.evaluation.calibration_plots import reliability_plot, risk_coverage_plot
from vlmalign.evaluation.conclusion import explain
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.judged_pairs import JudgedPair
from vlmalign.evaluation.page_parts import Figure, small_png
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.report_view import Cell, Row, Table, cell_of, flat_rows, methods_of
from vlmalign.evaluation.reward_calibration import CALIBRATION_TITLES
from vlmalign.evaluation.risk_coverage import RiskCoverage
from vlmalign.records import Message, Preference, RecordFolder

ROWS = {
    "accuracy": ("Right", "a tie counts one half", ""),
    "strict": ("Strictly right", "a tie is not a win", ""),
    "ties": ("Ties", "of the scored pairs", "less is better"),
    "unscored": ("Unscored", "of all pairs", "less is better"),
}


class Answer(NamedTuple):
    """One side of a pair as it is shown."""

    title: str
    text: str


class Mistake(NamedTuple):
    """A pair that a reward has the wrong way round."""

    reward: str
    pair: str
    note: str
    question: str
    answers: Sequence[Answer]
    images: Sequence[bytes]


class Difference(NamedTuple):
    """Two rewards compared, in words."""

    title: str
    sentence: str
    cell: Cell | None
    verdict: str
    kind: str


def render_reward_report(results: Mapping[str, Any], mistakes: Sequence[Mistake], out: str | Path) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: what `vlmalign evaluate reward --json` writes: `pairs`, `rewards`, `comparisons`, `margin`.
        mistakes: see `show_mistakes`.
        out: the file to write; replaced in one step.

    Returns:
        The path written.
    """
    rewards, comparisons = results["rewards"], results.get("comparisons") or {}
    counts = {name: {**r["counts"], "reasons": r["unscored_reasons"]} for name, r in rewards.items()}
    return write_page(
        out,
        "reward.html.j2",
        n=results["pairs"]["records"],
        n_groups=results["pairs"]["groups"],
        pairs_sha256=results["pairs"]["sha256"],
        margin=results["margin"],
        accuracy=accuracy_table(rewards),
        subsets=[(key, subset_table(rewards, key)) for key in next(iter(rewards.values()))["by"]],
        baselines=baseline_table(results.get("baselines") or {}),
        further=calibration_table(rewards),
        plots=calibration_figures_of(rewards),
        comparisons=[_difference(name, score) for name, score in comparisons.items()],
        comparison_methods=methods_of(comparisons.values()),
        mistakes=mistakes,
        counts=flat_rows(counts),
    )


def accuracy_table(rewards: Mapping[str, Mapping[str, Any]]) -> Table:
    """The figures over all pairs: rewards across; the averages over subsets below."""
    rows = [
        Row(title, note, [cell_of(reward[name]) for reward in rewards.values()], tag)
        for name, (title, note, tag) in ROWS.items()
    ]
    shown = [reward[name] for reward in rewards.values() for name in ROWS]
    swapped = [reward["role_swapped"] for reward in rewards.values()]
    if all(swapped):
        rows.append(Row("Role-swapped items", "text alone gets exactly one half", [cell_of(s) for s in swapped]))
        shown += swapped
    for key in next(iter(rewards.values()))["by"]:
        for name, (title, note, _) in zip(("macro", "macro_strict"), ROWS.values(), strict=False):
            scores = [reward["by"][key][name] for reward in rewards.values()]
            rows.append(Row(f"{title}, average over {key}", note, [cell_of(score) for score in scores]))
            shown += scores
    return Table(_columns(rewards), rows, methods_of(shown))


def subset_table(rewards: Mapping[str, Mapping[str, Any]], key: str) -> Table:
    """Accuracy (ties one half) by subset; strict accuracy and ties of each are in the JSON file."""
    names = dict.fromkeys(name for reward in rewards.values() for name in reward["by"][key]["subsets"])
    rows, shown = [], []
    for name in names:
        scores = [reward["by"][key]["subsets"][name]["accuracy"] for reward in rewards.values()]
        rows.append(Row(name, "", [cell_of(score) for score in scores]))
        shown += scores
    return Table(_columns(rewards), rows, methods_of(shown))


def calibration_table(rewards: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """How far margins are what they say; None where nothing was scored."""
    sections = [reward["calibration"] for reward in rewards.values()]
    rows, shown = [], []
    for name, (title, note) in CALIBRATION_TITLES.items():
        if any(name in section for section in sections):
            rows.append(Row(title, note, [cell_of(section.get(name), share=False) for section in sections]))
            shown += [section[name] for section in sections if name in section]
    return Table(_columns(rewards), rows, methods_of(shown)) if rows else None


def baseline_table(baselines: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """What scores without a look at the picture earn; baselines across."""
    if not baselines:
        return None
    rows = [
        Row(title, note, [cell_of(each[name]) for each in baselines.values()], tag)
        for name, (title, note, tag) in ROWS.items()
    ]
    return Table(
        [(name, "") for name in baselines], rows, methods_of(e[n] for e in baselines.values() for n in ROWS)
    )


def calibration_figures_of(rewards: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    """Reliability and risk over coverage of all rewards of which something was scored."""
    found = {name: reward["calibration"] for name, reward in rewards.items() if "bins" in reward["calibration"]}
    bins = {name: CalibrationFigures.from_dict(each) for name, each in found.items()}
    curves = {
        name: RiskCoverage.from_dict({"area": each["risk_coverage_area"], "points": each["risk_coverage"]})
        for name, each in found.items()
        if "risk_coverage" in each
    }
    figures = []
    if bins:
        n = ", ".join(f"{name} {each.brier.n:,}" for name, each in bins.items())
        caption = f"sigmoid(margin) of the likelier answer against how often it is the better one. Pairs: {n}."
        figures.append(Figure.drawn("Reliability", caption, reliability_plot, bins))
    if curves:
        caption = (
            "Errors among the pairs kept when small margins are left out first; ties left out. 95% intervals."
        )
        figures.append(Figure.drawn("Risk over coverage", caption, risk_coverage_plot, curves))
    return figures


def show_mistakes(reward: str, pairs: Sequence[JudgedPair], folder: RecordFolder[Preference]) -> list[Mistake]:
    """Pairs as the page shows them, their pictures read from the folder and made small."""
    shown = []
    for judged in pairs:
        pair = judged.pair
        label = ", ".join(filter(None, [f"label by {pair.source}", *pair.judge_ids, *pair.expert_ids]))
        changed = "" if pair.changed_claim is None else f"; they differ in {pair.changed_claim.concept}"
        answers = [
            Answer(f"{name}, score {score:.3g}" + ("" if std is None else f" ± {std:.2g}"), _text(turns))
            for name, score, std, turns in (
                ("chosen", judged.chosen, judged.chosen_std, pair.chosen),
                ("rejected", judged.rejected, judged.rejected_std, pair.rejected),
            )
            if score is not None
        ]
        images = [small_png(folder.image(ref, record=pair.id)) for ref in pair.images]
        shown.append(Mistake(reward, pair.id, label + changed, _text(pair.prompt), answers, images))
    return shown


def _text(turns: Sequence[Message]) -> str:
    """Turns in the order they were said; the speaker is named where there are several."""
    if len(turns) == 1:
        return turns[0].text
    return "\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def _columns(rewards: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(name, f"{reward['judge']}, {reward['criterion']}") for name, reward in rewards.items()]


def _difference(name: str, score: Mapping[str, Any]) -> Difference:
    verdict = str(score["conclusion"])
    kind = verdict if verdict in ("benefit", "harm", "undecided") else "none"
    sentence = explain(Estimate.from_dict(score), score["margin"], subject="accuracy").replace(" -", " −")
    return Difference(name.replace("_minus_", " − "), sentence, cell_of(score, signed=True), verdict, kind)
