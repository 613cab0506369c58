"""Figures of a report, as image bytes. Colours are Okabe & Ito's, told apart by the colour-blind too."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas  # never pyplot: a notebook keeps its own backend

from vlmalign.evaluation.answer_scores import ItemScore
from vlmalign.evaluation.estimate import Estimate

ImageFormat = Literal["svg", "png"]

BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
#: the same hues on a dark page, light enough to read
_ON_DARK = {BLUE: "#5BB3E8", VERMILION: "#FF8A4C", GREEN: "#35C79B", ORANGE: "#F0B840", SKY: SKY, PURPLE: PURPLE}


@contextmanager
def figure_style(dark: bool) -> Iterator[None]:
    """Look of all figures, on a light or a dark page."""
    ink, faint, ground = ("#e6e8eb", "#3a414b", "#14171c") if dark else ("#1d2127", "#d9dde3", "#ffffff")
    with matplotlib.rc_context({
        "figure.facecolor": ground, "axes.facecolor": "none",
        "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink, "axes.edgecolor": faint,
        "grid.color": faint, "grid.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
        "axes.axisbelow": True, "font.size": 10, "axes.titlesize": 10.5, "legend.frameon": False,
        "legend.fontsize": 9, "font.family": "DejaVu Sans", "svg.hashsalt": "vlmalign",
    }):  # fmt: skip
        yield


def figure_bytes(canvas: Canvas, image_format: ImageFormat) -> bytes:
    """A figure as a file that is the same in every run: svg for pages, without a ground, png with its own."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if image_format == "svg" else {"Software": None}
    canvas.savefig(
        buffer, format=image_format, facecolor="none" if image_format == "svg" else "auto",
        bbox_inches="tight", pad_inches=0.08, dpi=160, metadata=metadata,
    )  # fmt: skip
    return buffer.getvalue()


def hue(colour: str, dark: bool) -> str:
    """One of the colours above, as it is drawn on such a page."""
    return _ON_DARK[colour] if dark else colour


def forest_plot(
    estimates: Mapping[str, Estimate],
    *,
    label: str,
    references: Mapping[str, Estimate] | None = None,
    percent: bool = True,
    dark: bool = False,
    image_format: ImageFormat = "svg",
) -> bytes:
    """One row per arm: mean and interval, references (template, baselines) hollow below a line.

    Args:
        estimates: row name -> estimate; a row of which nothing was scored says so.
        label: of the value axis, without unit.
        references: further rows that are no competitors.
        percent: shares, drawn in per cent; else as they are.
        dark: for a dark page.
        image_format: svg or png.
    """
    references = references or {}
    rows = [(name, e, False) for name, e in estimates.items()] + [
        (name, e, True) for name, e in references.items()
    ]
    scale = 100 if percent else 1
    with figure_style(dark):
        canvas = Canvas(figsize=(6.4, 0.6 + 0.36 * max(1, len(rows))))
        axes = canvas.subplots()
        ends = [scale * x for _, e, _ in rows for x in (e.high, e.mean) if x is not None]
        axes.set_xlim(0, max(ends, default=1) * 1.04 or 1)
        for y, (name, estimate, hollow) in enumerate(rows):
            colour = hue(VERMILION if name.startswith("dpo") and "shuffled" not in name else BLUE, dark)
            _interval(axes, estimate, y, scale, colour, hollow)
        if references and estimates:
            axes.axhline(len(estimates) - 0.5, color=axes.spines["left"].get_edgecolor(), linestyle=(0, (4, 3)))
        _rows(axes, [name for name, _, _ in rows])
        axes.set_xlabel(f"{label} (%)" if percent else label)
        return figure_bytes(canvas, image_format)


def _interval(axes: Axes, estimate: Estimate, y: float, scale: float, colour: str, hollow: bool = False) -> None:
    if estimate.mean is None:
        axes.annotate("nothing scored", (0.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot(
            [scale * estimate.low, scale * estimate.high],
            [y, y],
            color=colour,
            lw=2.4,
            solid_capstyle="butt",
            alpha=0.75,
        )
    axes.plot(
        scale * estimate.mean, y, "o", ms=6.5, mec=colour, mfc="none" if hollow else colour, mew=1.6, clip_on=False
    )


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def comparison_plot(
    differences: Mapping[str, Estimate],
    *,
    margin: float = 0.02,
    label: str = "difference",
    less_is_better: Collection[str] = (),
    dark: bool = False,
    image_format: ImageFormat = "svg",
) -> bytes:
    """Differences with intervals around a line at zero, the margin of no interest shaded.

    Green: the interval lies on the better side of zero; vermilion: on the worse; blue: on neither. Better is
    above, of the names in `less_is_better` below, and these say so beside the axis.
    """
    with figure_style(dark):
        canvas = Canvas(figsize=(6.4, 0.6 + 0.42 * max(1, len(differences))))
        axes = canvas.subplots()
        axes.axvspan(-100 * margin, 100 * margin, color=hue(SKY, dark), alpha=0.18, lw=0)
        axes.axvline(0, color=axes.xaxis.label.get_color(), lw=1)
        reach = [100 * abs(x) for e in differences.values() for x in (e.low, e.high, e.mean) if x is not None]
        limit = max([*reach, 150 * margin]) * 1.08
        axes.set_xlim(-limit, limit)
        for y, (name, estimate) in enumerate(differences.items()):
            above = estimate.low is not None and estimate.low > 0
            below = estimate.high is not None and estimate.high < 0
            better, worse = (below, above) if name in less_is_better else (above, below)
            _interval(axes, estimate, y, 100, hue(GREEN if better else VERMILION if worse else BLUE, dark))
        _rows(axes, [f"{name} (less is better)" if name in less_is_better else name for name in differences])
        axes.set_xlabel(f"{label} (points; shaded: within ±{100 * margin:g})")
        return figure_bytes(canvas, image_format)


def best_of_n_plot(
    curve: Mapping[str, Mapping[str, Estimate]],
    *,
    label: str = "gold score of the pick",
    dark: bool = False,
    image_format: ImageFormat = "svg",
) -> bytes:
    """Best-of-N curve with interval bands: the reward's pick between random choice and the oracle.

    Args:
        curve: N -> {"reward", "random", "oracle"} -> estimate.
        label: of the value axis, without unit; values are shares.
        dark: for a dark page.
        image_format: svg or png.
    """
    looks = {
        "oracle": (GREEN, "--", "oracle"),
        "reward": (BLUE, "-", "reward model"),
        "random": (VERMILION, ":", "random"),
    }
    with figure_style(dark):
        canvas = Canvas(figsize=(5.6, 3.4))
        axes = canvas.subplots()
        for name, (colour, line, title) in looks.items():
            points = [(int(n), e[name]) for n, e in curve.items() if name in e and e[name].mean is not None]
            points.sort(key=lambda point: point[0])
            if not points:
                continue
            ns = [n for n, _ in points]
            shown = hue(colour, dark)
            axes.plot(
                ns, [100 * (e.mean or 0.0) for _, e in points], line, color=shown, marker="o", ms=4, label=title
            )
            banded = [(n, e.low, e.high) for n, e in points if e.low is not None and e.high is not None]
            if banded:
                xs, lows, highs = zip(*banded, strict=True)
                axes.fill_between(xs, 100 * np.array(lows), 100 * np.array(highs), color=shown, alpha=0.14, lw=0)
        axes.set_xscale("log", base=2)
        ticks = sorted(int(n) for n in curve)
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.minorticks_off()
        axes.grid(axis="y")
        axes.set_xlabel("candidates to choose from, N")
        axes.set_ylabel(f"{label} (%)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left")
        return figure_bytes(canvas, image_format)


def panel_grid(n: int, *, columns: int, size: tuple[float, float]) -> tuple[Canvas, list[Axes]]:
    """A figure of n panels, row by row.

    Args:
        n: how many panels.
        columns: at most so many in a row.
        size: width and height of a panel, in inches.
    """
    across = min(columns, max(1, n))
    down = -(-max(1, n) // across)
    canvas = Canvas(figsize=(size[0] * across, size[1] * down))
    panels = list(canvas.subplots(down, across, squeeze=False).flat)
    for axes in panels[n:]:
        axes.set_visible(False)
    return canvas, panels[:n]


def confusion_plot(
    items: Sequence[ItemScore],
    values: Mapping[str, Sequence[str]],
    *,
    dark: bool = False,
    image_format: ImageFormat = "svg",
) -> bytes:
    """Small multiples: per concept, how each true value was reported, in per cent of that value (count beside it).

    Args:
        items: one arm's items; where the truth of a concept is not known they do not count.
        values: concept -> its values in order; "not said" is added as the last column.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas, panels = panel_grid(len(values), columns=3, size=(3.3, 2.5))
        for axes, (concept, rows) in zip(panels, values.items(), strict=True):
            _confusion(axes, items, concept, list(rows), dark)
        canvas.supylabel("true value (n)", fontsize=10)
        canvas.supxlabel("reported value", fontsize=10)
        canvas.tight_layout()
        return figure_bytes(canvas, image_format)


def _confusion(axes: Axes, items: Sequence[ItemScore], concept: str, rows: list[str], dark: bool) -> None:
    counts = np.zeros((len(rows), len(rows) + 1), dtype=int)
    for item in items:
        if item.truth.get(concept) in rows:
            said = item.predicted.get(concept)
            counts[rows.index(item.truth[concept]), rows.index(said) if said in rows else len(rows)] += 1
    totals = counts.sum(1)
    shares = counts / np.maximum(totals, 1)[:, None]
    axes.imshow(shares, cmap="Blues_r" if dark else "Blues", vmin=-0.05, vmax=1.1, aspect="auto")
    for i, j in np.ndindex(*shares.shape):
        if totals[i]:
            light_cell = (shares[i, j] < 0.55) != dark
            axes.text(
                j,
                i,
                f"{100 * shares[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=9,
                color="#10202e" if light_cell else "#ffffff",
            )
    names = [row.replace("_", " ") for row in rows]
    axes.set_xticks(range(len(rows) + 1), [*names, "not said"], rotation=30, ha="right", fontsize=8.5)
    axes.set_yticks(range(len(rows)), [f"{n} ({t})" for n, t in zip(names, totals, strict=True)], fontsize=8.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(concept.replace("_", " "))
