"""From the analysis to the tables that its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmalign.evaluation.report_view import Cell, Row, Table, cell_of, methods_of
from vlmalign.reader_study.analysis.reported import p_text

Results = Mapping[str, Any]


def _said(value: str, note: str = "") -> Cell:
    return Cell(value, note, "")


def _pair(one: Mapping[str, Any]) -> str:
    return f"{one['arm']} against {one['against']}"


def win_table(preference: Results) -> Table:
    """Win rates: pairs of arms down; both conventions on ties and both estimands across."""
    rows, shown = [], []
    for one in preference["pairs"]:
        figures = [one["win_rate"], one["win_rate_ties_left_out"], one["tie_rate"]]
        both = [one["win_rate"]["these_readers"], one["win_rate"]["new_readers"]]
        answers = f"{one['wins']} / {one['ties']} / {one['losses']}"
        note = f"{p_text(one['p_holm'])} after Holm"
        cells = [_said(answers, f"{one['unanswered']} unanswered"), *map(cell_of, [*figures, *both])]
        rows.append(Row(_pair(one), note, cells))
        shown += [*figures, *both]
    columns = [
        ("won / tied / lost", ""),
        ("win rate", "a tie counts one half"),
        ("ties left out", "of decided answers"),
        ("ties", "of all answers"),
        ("for these readers", "on new cases"),
        ("for new readers", "on new cases"),
    ]
    return Table(columns, rows, methods_of(shown))


def reader_table(preference: Results) -> Table:
    """The same for each reader alone."""
    rows, shown = [], []
    for one in preference["pairs"]:
        for reader, own in one["by_reader"].items():
            answers = f"{own['wins']} / {own['ties']} / {own['losses']}"
            cells = [_said(answers, f"{own['unanswered']} unanswered"), cell_of(own["win_rate"])]
            rows.append(Row(reader, _pair(one), cells))
            shown.append(own["win_rate"])
    return Table([("won / tied / lost", ""), ("win rate", "over cases")], rows, methods_of(shown))


def rating_table(ratings: Results) -> Table:
    """How each arm was rated: counts of 1 to 5, mean, share of 4 and 5."""
    rows, shown = [], []
    for criterion, arms in ratings["arms"].items():
        for arm, one in arms.items():
            counts = " · ".join(map(str, one["counts"]))
            cells = [
                _said(counts, f"{one['missing']} not rated"),
                cell_of(one["mean"], share=False),
                cell_of(one["agreed"]),
            ]
            rows.append(Row(criterion, arm, cells))
            shown += [one["mean"], one["agreed"]]
    return Table(
        [("1 · 2 · 3 · 4 · 5", "how often"), ("mean", ""), ("4 or 5", "per cent")], rows, methods_of(shown)
    )


def difference_table(ratings: Results) -> Table:
    """One arm less another on each scale, and what a mixed model says of it."""
    rows, shown = [], []
    for one in ratings["differences"]:
        figure = one["difference"]
        cells = [cell_of(figure, share=False, signed=True), mixed_cell(one["mixed_model"], "difference")]
        note = f"{_pair(one)}; {one['paired']}; {p_text(one['p_holm'])} after Holm"
        rows.append(Row(one["criterion"], note, cells))
        shown.append(figure)
    return Table([("difference", "points"), ("mixed model", "Wald")], rows, methods_of(shown))


def difference_sentence(one: Results) -> str:
    """A difference of ratings in words."""
    figure = one["difference"]
    told = f"{one['criterion']}, {one['arm']} less {one['against']}: "
    if figure["mean"] is None:
        lacking = f"{figure['excluded']} of them not rated" if figure["excluded"] else "no case was read in both"
        return f"{told}nothing to compare ({lacking})"
    interval = "no interval" if figure["low"] is None else f"{figure['low']:+.2f} to {figure['high']:+.2f}"
    return f"{told}{figure['mean']:+.2f} ({interval}, {figure['estimand']}, n {figure['n']})"


def mixed_cell(fit: Mapping[str, Any], name: str, scale: float = 1.0) -> Cell:
    """An effect of a mixed model, or why there is none."""
    effect = (fit.get("effects") or {}).get(name)
    if effect is None:
        return _said("–", str(fit.get("reason") or "not fitted"))
    value, low, high = (_three(scale * effect[part]) for part in ("estimate", "low", "high"))
    trouble = "" if fit["converged"] else "did not converge"
    return Cell(value, f"{low} to {high}", trouble)


def _three(value: float) -> str:
    """Three figures; what only rounding left is 0."""
    return f"{value if abs(value) >= 1e-6 else 0.0:.3g}".replace("-", "−")


def error_table(errors: Results) -> Table:
    """Marked errors of each arm."""
    rows, shown = [], []
    for arm, one in errors["arms"].items():
        figures = [one["any_error"], one["any_major"], one["per_sentence"]]
        told = f"{one['minor']} / {one['major']}"
        note = f"{one['texts']} texts checked, {one['unchecked']} not"
        rows.append(Row(arm, note, [_said(told), *map(cell_of, figures)]))
        shown += figures
    columns = [
        ("minor / major", "marks"),
        ("texts with an error", ""),
        ("with a major one", ""),
        ("of sentences", "marked"),
    ]
    return Table(columns, rows, methods_of(shown))


def error_difference_table(errors: Results) -> Table:
    """Marks in a text of one arm less those in the other's."""
    rows = []
    for one in errors["differences"]:
        note = f"{one['paired']}; {p_text(one['p_holm'])} after Holm"
        rows.append(Row(_pair(one), note, [cell_of(one["difference"], share=False, signed=True)]))
    shown = [one["difference"] for one in errors["differences"]]
    return Table([("difference", "marks in a text")], rows, methods_of(shown))


def agreement_rows(agreement: Results) -> list[tuple[str, str, str]]:
    """Question, between readers, within readers: in words."""
    return [(name, one["between"]["sentence"], one["within"]["sentence"]) for name, one in agreement.items()]


def length_table(preference: Results) -> Table:
    """Whether the longer text wins, and the win rate at equal length."""
    rows, shown = [], []
    every = preference["length"]["all"]
    rows.append(
        Row(
            "all pairs",
            f"{every['equal']} answers on texts of equal length",
            [None, cell_of(every["longer_wins"])],
        )
    )
    shown.append(every["longer_wins"])
    for one in preference["length"]["pairs"]:
        keys = ("where_longer", "where_shorter", "adjusted")
        cells = [
            cell_of(one["times_as_long"], share=False),
            *(cell_of(one[key]) for key in ("longer_wins", *keys)),
            mixed_cell(one["mixed"] or {"reason": one["reason"]}, "win rate at equal length", 100),
        ]
        rows.append(Row(_pair(one), one["reason"] or "", cells))
        shown += [one[key] for key in ("times_as_long", "longer_wins", *keys) if one[key]]
    rows[0] = Row(rows[0].title, rows[0].note, [*rows[0].cells, *[None] * 4])
    columns = [
        ("times as long", "words"),
        ("longer text wins", "a tie one half"),
        ("win rate where longer", ""),
        ("where shorter", ""),
        ("at equal length", "line through all"),
        ("at equal length", "mixed model, Wald"),
    ]
    return Table(columns, rows, methods_of(shown))


def mixed_rows(results: Results) -> list[tuple[str, str]]:
    """Each mixed model: its effect, components, and all trouble, in words."""
    rows = []
    preference, ratings = results["preference"], results["ratings"]
    fits = [(f"win rate, {_pair(one)}", one) for one in (preference or {}).get("mixed_models", ())]
    for one in (preference or {}).get("length", {}).get("pairs", ()):
        if one["mixed"]:
            fits.append((f"win rate by length, {_pair(one)}", one["mixed"]))
    fits += [
        (f"{one['criterion']}, {_pair(one)}", one["mixed_model"]) for one in (ratings or {}).get("differences", ())
    ]
    for title, fit in fits:
        if fit.get("reason") or not fit.get("effects"):
            rows.append((title, f"no fit: {fit.get('reason') or 'no answers'}"))
            continue
        effects = ", ".join(
            f"{name} {e['estimate']:.3f} ({e['low']:.3f} to {e['high']:.3f})" for name, e in fit["effects"].items()
        )
        parts = ", ".join(f"{name} {value:.3g}" for name, value in fit["components"].items())
        state = "converged" if fit["converged"] else "DID NOT CONVERGE: do not read it"
        rows.append((title, f"{effects}; variances: {parts}; {state}{''.join(f'; {n}' for n in fit['notes'])}"))
    return rows


def side_table(preference: Results) -> Table:
    """How often the left text is preferred."""
    side = preference["side"]
    rows = [Row("all readers", p_text(side["left_wins"]["p"]), [cell_of(side["left_wins"])])]
    rows += [Row(reader, "", [cell_of(one)]) for reader, one in side["by_reader"].items()]
    return Table(
        [("left preferred", "a tie one half")],
        rows,
        methods_of([side["left_wins"], *side["by_reader"].values()]),
    )


def time_rows(times: Results) -> list[tuple[str, str]]:
    """Seconds of all readings and of each reader, in words."""
    rows = []
    for name, one in [("all readers", times["all"]), *times["by_reader"].items()]:
        if one["quartiles"] is None:
            rows.append((name, f"no times ({one['unknown']} answered readings without one)"))
            continue
        low, middle, high = one["quartiles"]
        told = f"median {middle:.0f} s (quartiles {low:.0f} to {high:.0f}), n {one['n']}"
        told += f", {one['total'] / 60:.0f} min in all"
        rows.append((name, told + (f", {one['unknown']} without a time" if one["unknown"] else "")))
    return rows
