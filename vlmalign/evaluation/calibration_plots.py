"""Calibration as pictures: the reliability diagram, and risk over coverage."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from vlmalign.evaluation.calibration import CalibrationFigures
from vlmalign.evaluation.plots import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Canvas,
    ImageFormat,
    figure_bytes,
    figure_style,
    hue,
    panel_grid,
)
from vlmalign.evaluation.risk_coverage import RiskCoverage

_LOOKS = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (ORANGE, ":"), (PURPLE, "-"), (SKY, "--"))


def reliability_plot(
    figures: Mapping[str, CalibrationFigures],
    *,
    label: str = "share that is right",
    dark: bool = False,
    image_format: ImageFormat = "svg",
) -> bytes:
    """Small multiples, one per set of probabilities: what share of each bin is right, with intervals, and its n.

    Args:
        figures: title (e.g. "before", "after") -> its figures.
        label: of the value axis, without unit.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas, panels = panel_grid(len(figures), columns=3, size=(3.3, 3.3))
        for axes, (title, found) in zip(panels, figures.items(), strict=True):
            _reliability(axes, found, dark)
            error = found.ece
            told = "" if error.mean is None else f": ECE {100 * error.mean:.1f}"
            if error.mean is not None and error.low is not None and error.high is not None:
                told += f" ({100 * error.low:.1f} to {100 * error.high:.1f})"
            axes.set_title(f"{title.replace('_', ' ')}{told}")
        canvas.supxlabel("stated probability (%)", fontsize=10)
        canvas.supylabel(f"{label} (%)", fontsize=10)
        canvas.tight_layout()
        return figure_bytes(canvas, image_format)


def _reliability(axes: Axes, found: CalibrationFigures, dark: bool) -> None:
    axes.plot([0, 100], [0, 100], color=axes.xaxis.label.get_color(), lw=1, linestyle=(0, (4, 3)))
    colour = hue(BLUE, dark)
    for each in found.bins:
        accuracy = each.accuracy
        if accuracy.mean is None:
            continue
        x = 100 * each.confidence
        if accuracy.low is not None and accuracy.high is not None:
            axes.plot([x, x], [100 * accuracy.low, 100 * accuracy.high], color=colour, lw=2, alpha=0.7)
        axes.plot(x, 100 * accuracy.mean, "o", ms=5, color=colour)
        axes.annotate(str(accuracy.n), (x, 0), fontsize=7.5, ha="center", va="bottom")
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 102)
    axes.grid()


def risk_coverage_plot(
    curves: Mapping[str, RiskCoverage], *, dark: bool = False, image_format: ImageFormat = "svg"
) -> bytes:
    """Risk among the kept over the share that is kept, with interval bands; one line per uncertainty.

    Args:
        curves: name -> its curve.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas = Canvas(figsize=(5.6, 3.4))
        axes = canvas.subplots()
        for i, (name, curve) in enumerate(curves.items()):
            colour, line = _LOOKS[i % len(_LOOKS)]
            known = [(c, e) for c, e in curve.points if e.mean is not None]
            area = "" if curve.area.mean is None else f" (area {100 * curve.area.mean:.1f})"
            axes.plot(
                [100 * c for c, _ in known],
                [100 * (e.mean or 0.0) for _, e in known],
                line,
                color=hue(colour, dark),
                marker="o",
                ms=3.5,
                label=f"{name.replace('_', ' ')}{area}",
            )
            banded = [(c, e.low, e.high) for c, e in known if e.low is not None and e.high is not None]
            if banded:
                xs, lows, highs = ([100 * row[k] for row in banded] for k in range(3))
                axes.fill_between(xs, lows, highs, color=hue(colour, dark), alpha=0.14, lw=0)
        axes.set_xlim(0, 102)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xlabel("kept, the surest first (%)")
        axes.set_ylabel("wrong among the kept (%)")
        if curves:
            axes.legend()
        return figure_bytes(canvas, image_format)
