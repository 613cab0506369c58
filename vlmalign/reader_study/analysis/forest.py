"""Figures of a reader study: wins, ties and losses with their rate, and differences of ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from vlmalign.evaluation.plots import BLUE, GREEN, ORANGE, VERMILION, ImageFormat, figure_bytes, figure_style, hue

LOSS, TIE, WIN = VERMILION, "#9aa3ad", GREEN


def win_forest(
    pairs: Sequence[Mapping[str, Any]], *, dark: bool = False, image_format: ImageFormat = "svg"
) -> bytes:
    """A block for each pair of arms: all readers, then each; left the answers, right the win rate.

    Args:
        pairs: as in results.json, `preference.pairs`.
        dark: for a dark page.
        image_format: svg or png.
    """
    rows: list[tuple[float, str, Mapping[str, Any], bool]] = []
    heads, y = [], 0.0
    for pair in pairs:
        heads.append((y, f"{pair['arm']} against {pair['against']}"))
        y += 1
        rows.append((y, "all readers", pair, True))
        for reader, one in pair["by_reader"].items() if len(pair["by_reader"]) > 1 else ():
            y += 1
            rows.append((y, reader, one, False))
        y += 1.5
    with figure_style(dark):
        canvas = Canvas(figsize=(8.6, 1.1 + 0.36 * max(y, 2)))
        bars, rates = canvas.subplots(1, 2, sharey=True, width_ratios=(1.1, 1))
        for at, _, one, whole in rows:
            _bar(bars, at, one, dark, whole)
            _rate(rates, at, one["win_rate"], dark, whole)
        bars.set_yticks([at for at, *_ in rows], [name for _, name, *_ in rows])
        for tick, (*_, whole) in zip(bars.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("bold" if whole else "normal")
        for at, title in heads:
            bars.annotate(title, (0, at), xycoords=("axes fraction", "data"), va="center", fontweight="bold")
        bars.set_ylim(y - 0.5, -0.7)
        bars.set_xlim(0, 100)
        bars.set_xlabel("answers (%): won, tied, lost")
        rates.axvline(50, color=rates.xaxis.label.get_color(), lw=1)
        rates.set_xlim(0, 100)
        rates.set_xlabel("win rate, a tie one half (%)")
        for axes in (bars, rates):
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        rates.grid(axis="x")
        canvas.tight_layout()
        return figure_bytes(canvas, image_format)


def _bar(axes: Axes, y: float, counts: Mapping[str, Any], dark: bool, whole: bool) -> None:
    total = counts["wins"] + counts["ties"] + counts["losses"]
    if not total:
        axes.annotate("nothing answered", (1, y), va="center", fontsize=8.5)
        return
    start = 0.0
    for name, colour in (("wins", WIN), ("ties", TIE), ("losses", LOSS)):
        share = 100 * counts[name] / total
        shown = colour if colour == TIE else hue(colour, dark)
        axes.barh(y, share, left=start, height=0.72 if whole else 0.5, color=shown, alpha=0.9, lw=0)
        if share >= 7:
            ink = "#10151b" if dark or colour == TIE else "#ffffff"
            axes.text(start + share / 2, y, str(counts[name]), ha="center", va="center", fontsize=8.5, color=ink)
        start += share


def _rate(axes: Axes, y: float, rate: Mapping[str, Any], dark: bool, whole: bool, scale: float = 100) -> None:
    if rate["mean"] is None:
        axes.annotate(
            "nothing to compare", (0.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5
        )
        return
    colour = hue(BLUE if whole else ORANGE, dark)
    if rate["low"] is not None:
        axes.plot([scale * rate["low"], scale * rate["high"]], [y, y], color=colour, lw=2.6 if whole else 1.6)
    axes.plot(scale * rate["mean"], y, "D" if whole else "o", ms=6.5 if whole else 5, color=colour, clip_on=False)


def rating_forest(
    differences: Sequence[Mapping[str, Any]], *, dark: bool = False, image_format: ImageFormat = "svg"
) -> bytes:
    """Differences of ratings with intervals, a row for each scale and pair of arms.

    Args:
        differences: as in results.json, `ratings.differences`.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas = Canvas(figsize=(7.4, 0.9 + 0.38 * max(1, len(differences))))
        axes = canvas.subplots()
        axes.axvline(0, color=axes.xaxis.label.get_color(), lw=1)
        for y, one in enumerate(differences):
            _rate(axes, y, one["difference"], dark, True, 1)
        figures = [one["difference"] for one in differences]
        reach = max([abs(f[k]) for f in figures for k in ("mean", "low", "high") if f[k] is not None] + [0.5])
        axes.set_xlim(-1.08 * reach, 1.08 * reach)
        names = [f"{one['criterion'].replace('_', ' ')}: {one['arm']} − {one['against']}" for one in differences]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("difference in rating (points of 1 to 5)")
        return figure_bytes(canvas, image_format)
