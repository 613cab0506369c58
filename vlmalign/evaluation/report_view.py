"""From results.json to what the page shows: rows, cells and sentences, ready to be printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vlmalign.evaluation.aggregate import QUANTITIES
from vlmalign.evaluation.conclusion import explain, smallest_detectable
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.report_titles import ARM_NOTES, COMPARISON_TITLES, LESS_IS_BETTER, METRIC_TITLES, titled


@dataclass(frozen=True)
class Cell:
    """One figure as it is printed; `low`, `high`, `at` place a bar on a scale of 0 to 100, if it is a share."""

    value: str
    interval: str
    counts: str
    at: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    title: str
    note: str
    cells: Sequence[Cell | None]
    tag: str = ""
    counts: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its column heads, each a name and a note, and how its intervals were made."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row] = field(default_factory=list)
    methods: str = ""


@dataclass(frozen=True)
class ConclusionView:
    """A comparison in words."""

    title: str
    about: str
    verdict: str
    kind: str
    sentence: str
    cell: Cell
    detectable: str


def cell_of(score: Mapping[str, Any] | None, *, share: bool = True, signed: bool = False) -> Cell | None:
    """Print one score; None stays None and shows as a dash.

    Example:
        >>> cell_of({"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "excluded": 2}).value
        '50.0'
    """
    if score is None:
        return None
    estimate = Estimate.from_dict(score)
    parts = [f"n {estimate.n:,}"] if "n" in score else []
    parts += [f"{estimate.n_groups:,} groups"] if estimate.n_groups else []
    parts += [f"{estimate.excluded:,} excluded"] if estimate.excluded else []
    counts = " · ".join(parts)
    if estimate.mean is None:
        return Cell("–", "nothing scored", counts)
    scale = 100 if share else 1
    form = "+.1f" if signed else ".1f" if share or abs(estimate.mean) >= 10 else ".3g"
    interval = "no interval"
    low = high = None
    if estimate.low is not None and estimate.high is not None:
        interval = f"{scale * estimate.low:{form}} to {scale * estimate.high:{form}}"
        low, high = 100 * estimate.low, 100 * estimate.high
    barred = share and not signed and 0 <= estimate.mean <= 1
    bar = (100 * estimate.mean, low, high) if barred else (None, None, None)
    return Cell(_minus(f"{scale * estimate.mean:{form}}"), _minus(interval), counts, *bar)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def show_p(p: float | None) -> str:
    """A p as it is printed.

    Example:
        >>> show_p(0.04321), show_p(1e-9), show_p(None)
        ('0.043', '<0.001', '–')
    """
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def shaded(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of counts with how dark each cell is: its share of the row."""
    shades = [[count / max(1, sum(row)) for count in row] for row in table["counts"]]
    return {**table, "shades": shades}


def metric_table(arms: Mapping[str, Mapping[str, Any]] | None) -> Table | None:
    """Metrics down, arms across; metrics that this package does not name come last, as they are."""
    if not arms:
        return None
    present = dict.fromkeys(name for metrics in arms.values() for name in metrics)
    names = [m for m in METRIC_TITLES if m in present] + [m for m in present if m not in METRIC_TITLES]
    rows = []
    for name in names:
        title, note = titled(name)
        tag = "less is better" if name in LESS_IS_BETTER else ""
        share = name in METRIC_TITLES and name not in QUANTITIES
        cells = [cell_of(arm.get(name), share=share) for arm in arms.values()]
        rows.append(_counts_once(Row(title, note, cells, tag)))
    methods = methods_of(score for metrics in arms.values() for score in metrics.values())
    return Table([(arm, ARM_NOTES.get(arm, "")) for arm in arms], rows, methods)


def methods_of(scores: Iterable[Mapping[str, Any]]) -> str:
    """How the intervals of a table were made, the commonest first, and of how many figures.

    Example:
        >>> t, exact = {"method": "t, 3 df, over 4 groups"}, {"method": "Clopper-Pearson, 4 groups"}
        >>> methods_of([t, exact, t])
        't, 3 df, over 4 groups (of 2); Clopper-Pearson, 4 groups (of 1)'
    """
    scored = [score for score in scores if score.get("mean", 0) is not None]
    counts = Counter(str(score["method"]) for score in scored if score.get("method")).most_common()
    if len(counts) < 2:
        return "".join(method for method, _ in counts)
    return "; ".join(f"{method} (of {n})" for method, n in counts)


def _counts_once(row: Row) -> Row:
    """Counts that are the same in all cells are told in the row's head only."""
    counts = {cell.counts for cell in row.cells if cell is not None}
    if len(counts) != 1:
        return row
    cells = [None if cell is None else replace(cell, counts="") for cell in row.cells]
    return replace(row, cells=cells, counts=counts.pop())


def conclusions(comparisons: Mapping[str, Mapping[str, Any]] | None, margin: float) -> list[ConclusionView]:
    """Each comparison in words; the verdict is the one in the results, not made again.

    A comparison may hold the `margin` by which it was concluded; else `margin` is used for its sentence.
    """
    views = []
    for name, score in (comparisons or {}).items():
        plain = (name.replace("_minus_", " − ").replace("_", " "), "", metric_in_words(score))
        title, about, subject = COMPARISON_TITLES.get(name, plain)
        difference = Estimate.from_dict(score)
        verdict = str(score.get("conclusion", "not concluded"))
        kind = verdict if verdict in ("benefit", "harm", "undecided") else "none"
        detectable = smallest_detectable(difference)
        cell = cell_of(score, signed=True)
        assert cell is not None
        sentence = explain(difference, score.get("margin", margin), subject=subject).replace(" -", " −")
        shown = "" if detectable is None else f"{100 * detectable:.1f}"
        views.append(ConclusionView(title, about, verdict, kind, sentence, cell, shown))
    return views


def metric_in_words(score: Mapping[str, Any]) -> str:
    """What a comparison compares."""
    return str(score.get("metric", "the metric")).replace("_", " ")


def score_table(
    scores: Mapping[str, Any] | None, titles: Mapping[str, tuple[str, str]] | None = None
) -> Table | None:
    """Named scores, one to a line; what is not a score (a curve) is left aside.

    Args:
        scores: name -> score.
        titles: name -> (title, unit); a unit of "%" or "points" says that the score is a share.
    """
    rows, shown = [], []
    for name, score in (scores or {}).items():
        if not isinstance(score, Mapping) or not {"mean", "low", "high"} <= set(score):
            continue
        title, unit = _score_title(name, titles or {})
        cell = cell_of(score, share=unit in ("%", "points"), signed=unit == "points")
        ties = score.get("ties")
        tied = ties.get("mean") if isinstance(ties, Mapping) else None
        shown.append(score)
        rows.append(Row(title, "" if tied is None else f"ties {100 * tied:.1f} %", [cell], unit))
    return Table([("", "")], rows, methods_of(shown)) if rows else None


def _score_title(name: str, titles: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """A known name's title; `dice_red_cell` is `dice` of one part, `... : red cell`; any other as it is."""
    if name in titles:
        return titles[name]
    for known, (title, unit) in titles.items():
        if name.startswith(f"{known}_"):
            return f"{title}: {name.removeprefix(f'{known}_').replace('_', ' ')}", unit
    return name.replace("_", " "), ""


def flow_steps(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was done, step by step: the results' own `flow`, or the demo's where its group counts are given.

    Of a run that tells neither, nothing is said.
    """
    if results.get("flow"):
        return [(str(name), str(text)) for name, text in results["flow"]]
    groups = results.get("n_groups") or {}
    if not {"expert", "labelled", "unlabelled", "test"} <= set(groups):
        return []
    return [
        ("Images", f"{groups['unlabelled']} groups unlabelled, {groups['labelled']} with noisy reports"),
        ("Expert", f"trained on {groups['expert']} annotated groups; sees part of the concepts"),
        ("Candidates", "sampled from the common start model"),
        ("Preferences", "claims checked against findings and clinical logic; no hidden answers"),
        ("Training", "all arms from the same start and the same candidates"),
        ("Evaluation", f"{groups['test']} held-out groups; every figure with its interval"),
    ]


def cost_rows(results: Mapping[str, Any]) -> list[tuple[str, str, float, str]]:
    """Stage, seconds, share of the longest stage in per cent, FLOPs."""
    seconds, flops = results.get("seconds") or {}, results.get("flops") or {}
    longest = max([*seconds.values(), 1e-9])
    rows = []
    for stage in dict.fromkeys([*seconds, *flops]):
        spent = seconds.get(stage)
        shown = "–" if spent is None else f"{spent:,.1f}"
        rows.append((stage.replace("_", " "), shown, 100 * (spent or 0) / longest, _flops(flops.get(stage))))
    return rows


def _flops(number: float | None) -> str:
    if number is None:
        return "–"
    for power, prefix in ((15, "P"), (12, "T"), (9, "G")):
        if number >= 10**power:
            return f"{number / 10**power:.2f} {prefix}FLOP"
    return f"{number:.3g} FLOP"


def flat_rows(section: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested section as lines of name and value, for configurations, versions and counts."""
    if isinstance(section, Mapping):
        return [row for key, value in section.items() for row in flat_rows(value, f"{prefix}{key}.")]
    return [(prefix.rstrip("."), str(section))] if section is not None else []
