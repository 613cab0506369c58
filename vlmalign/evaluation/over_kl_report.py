"""The page that tells whether online runs have over-optimised their reward."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmalign.evaluation.kl_plot import kl_grid_plot, pooled_over_kl_plot
from vlmalign.evaluation.page_parts import Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.report_view import Row, Table, cell_of, flat_rows, methods_of

KINDS = {"over-optimised": "harm", "gold falls": "harm", "gold rises": "benefit"}
CURVE = (
    "Thick: mean over seeds, with 95% intervals, of each KL by itself; thin: each seed; circle: the peak of "
    "mean gold."
)
CHANGES = {
    "gold_gain": ("gold, from the start", "to the end of the grid"),
    "fall": ("gold, from its peak", "the peak of the same runs: falls are found too easily"),
    "fall_cross_fitted": ("gold, from the others' peak", "each seed's peak found on the others"),
    "proxy_rise": ("proxy, from the start", ""),
    "proxy_after_peak": ("proxy, from gold's peak", ""),
    "tokens_ratio": ("tokens of held-out answers", "end over start, geometric mean over seeds"),
    "words_ratio": ("words of logged answers", "last third of the rounds over first third; other cases in each"),
}


def render_over_kl(results: Mapping[str, Any], out: str | Path) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: of `online_over_optimisation`, with `setup`.
        out: the file to write; replaced in one step.

    Returns:
        The path written.
    """
    arms = results["arms"]
    return write_page(
        out,
        "over_kl.html.j2",
        cards=[
            {"name": name, "kind": KINDS.get(arm["verdict"], "undecided"), **arm} for name, arm in arms.items()
        ],
        notes=results["notes"],
        curve=Figure.drawn("Proxy and gold", CURVE, pooled_over_kl_plot, arms),
        both=_together(arms) if len(arms) > 1 else None,
        changes=_changes(arms),
        points={name: _points(arm) for name, arm in arms.items()},
        differences=_differences(results["differences"]),
        runs={name: arm["runs"] for name, arm in arms.items()},
        setup=flat_rows(results["setup"]),
    )


def _together(arms: Mapping[str, Any]) -> Figure:
    flat = {
        name: [
            {"kl": point["kl"]} | {f"{key}{suffix}": point[key][end] for key in ("proxy", "gold")
                                   for suffix, end in (("", "mean"), ("_low", "low"), ("_high", "high"))}
            for point in arm["points"]
        ]
        for name, arm in arms.items()
    }  # fmt: skip
    return Figure.drawn(
        "Arms at equal KL", "Means over seeds with 95% intervals; at most three arms.", kl_grid_plot, flat
    )


def _changes(arms: Mapping[str, Any]) -> Table:
    rows = [
        Row(title, note, [cell_of(arm[key], share=False) for arm in arms.values()])
        for key, (title, note) in CHANGES.items()
    ]
    return Table(
        [(name, "") for name in arms], rows, methods_of(arm[key] for arm in arms.values() for key in CHANGES)
    )


def _points(arm: Mapping[str, Any]) -> Table:
    keys = ("proxy", "gold", "tokens")
    rows = [
        Row(f"KL {point['kl']:.2f}", "", [cell_of(point[key], share=False) for key in keys])
        for point in arm["points"]
    ]
    return Table([(key, "") for key in keys], rows, methods_of(p[key] for p in arm["points"] for key in keys))


def _differences(found: Mapping[str, Any] | None) -> tuple[str, Table] | None:
    if found is None:
        return None
    rows = [
        Row(f"KL {point['kl']:.2f}", "", [cell_of(point[key], share=False) for key in ("proxy", "gold")])
        for point in found["points"]
    ]
    return f"{found['names'][0]} minus {found['names'][1]}", Table([("proxy", ""), ("gold", "")], rows)
