"""Over-optimisation as a picture: what was maximised, and what is true, over the distance from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from vlmalign.evaluation.plots import (
    BLUE,
    GREEN,
    VERMILION,
    ImageFormat,
    figure_bytes,
    figure_style,
    hue,
    panel_grid,
)

Z95 = 1.96


def reward_over_kl_plot(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    kept: Mapping[str, int],
    *,
    dark: bool = False,
    image_format: ImageFormat = "svg",
) -> bytes:
    """Small multiples, one per run: the proxy (right axis, dashed) and the gold reward (left axis) over KL.

    Where the proxy still rises and gold falls, the policy has learned to please the proxy (Gao et al. 2023,
    arXiv:2210.10760). Bars are 95 % intervals, 1.96 standard errors over groups of cases.

    Args:
        runs: name -> its evaluations in order, each with `round`, `kl`, `reward`, `reward_se`, `gold` and
            `gold_se` (None where not known).
        kept: name -> the round whose model was kept; it is circled.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas, panels = panel_grid(len(runs), columns=2, size=(4.6, 2.9))
        for axes, (name, points) in zip(panels, runs.items(), strict=True):
            right = axes.twinx()
            _curve(axes, points, "gold", kept.get(name), hue(BLUE, dark), "-")
            _curve(right, points, "reward", kept.get(name), hue(VERMILION, dark), "--")
            axes.set_title(name.replace("_", " "))
            axes.set_xlabel("KL from the start (nats per answer)")
            for side, title, colour in ((axes, "gold reward", BLUE), (right, "proxy, maximised", VERMILION)):
                side.set_ylabel(title, color=hue(colour, dark))
                side.tick_params(axis="y", colors=hue(colour, dark))
            right.spines["right"].set_visible(True)
            axes.grid(axis="y")
        canvas.tight_layout()
        return figure_bytes(canvas, image_format)


def _curve(
    axes: Axes, points: Sequence[Mapping[str, Any]], name: str, kept: int | None, colour: str, line: str
) -> None:
    known = [point for point in points if point.get(name) is not None and point.get("kl") is not None]
    if not known:
        axes.annotate("not known", (0.02, 0.04), xycoords="axes fraction", fontsize=8.5, color=colour)
        return
    xs, ys = [point["kl"] for point in known], [point[name] for point in known]
    bars = [Z95 * (point.get(f"{name}_se") or 0.0) for point in known]
    axes.errorbar(xs, ys, yerr=bars, color=colour, linestyle=line, marker="o", ms=3.5, lw=1.5, elinewidth=1)
    here = [point for point in known if point["round"] == kept]
    axes.plot([p["kl"] for p in here], [p[name] for p in here], "o", ms=10, mfc="none", mec=colour, mew=1.6)


def kl_grid_plot(
    arms: Mapping[str, Sequence[Mapping[str, Any]]], *, dark: bool = False, image_format: ImageFormat = "svg"
) -> bytes:
    """Two panels over KL, what was maximised and what is true, one line per arm with its interval over seeds.

    Args:
        arms: name -> its points on a common grid, as `KlPoint.to_dict` gives them.
        dark: for a dark page.
        image_format: svg or png.
    """
    looks = ((BLUE, "-", "o"), (VERMILION, "--", "s"), (GREEN, ":", "^"))
    with figure_style(dark):
        canvas, panels = panel_grid(2, columns=2, size=(4.6, 3.1))
        for axes, (name, title) in zip(panels, (("proxy", "proxy, maximised"), ("gold", "gold")), strict=True):
            for (arm, points), (colour, line, marker) in zip(arms.items(), looks, strict=False):
                known = [point for point in points if point[name] is not None]
                xs, ys = [p["kl"] for p in known], [p[name] for p in known]
                drawn = hue(colour, dark)
                axes.plot(xs, ys, line, marker=marker, ms=3.5, color=drawn, label=arm.replace("_", " "))
                banded = [p for p in known if p[f"{name}_low"] is not None]
                low, high = ([p[f"{name}_{end}"] for p in banded] for end in ("low", "high"))
                axes.fill_between([p["kl"] for p in banded], low, high, color=drawn, alpha=0.14, lw=0)
            axes.set_title(title)
            axes.set_xlabel("KL from the start (nats per answer)")
            axes.grid(axis="y")
        panels[1].legend()
        canvas.tight_layout()
        return figure_bytes(canvas, image_format)


def pooled_over_kl_plot(
    arms: Mapping[str, Mapping[str, Any]], *, dark: bool = False, image_format: ImageFormat = "svg"
) -> bytes:
    """One panel per arm: gold (left axis) and proxy (right axis, dashed) over KL, seeds pooled, each seed thin.

    Args:
        arms: name -> what `arm_over_kl` gives.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas, panels = panel_grid(len(arms), columns=2, size=(5.4, 3.5))
        for axes, (name, arm) in zip(panels, arms.items(), strict=True):
            right = axes.twinx()
            grid = [point["kl"] for point in arm["points"]]
            for side, label, colour, line in ((axes, "gold", BLUE, "-"), (right, "proxy", VERMILION, "--")):
                drawn = hue(colour, dark)
                for run in arm["runs"] if len(arm["runs"]) > 1 else ():
                    _thin(side, grid, run["on_grid"][label], drawn, line)
                _band(side, arm["points"], label, drawn, line)
                side.set_ylabel({"gold": "gold", "proxy": "proxy, maximised"}[label], color=drawn)
                side.tick_params(axis="y", colors=drawn)
            if arm["peak"] is not None:
                place = (arm["peak"]["kl"], arm["peak"]["gold"]["mean"])
                axes.plot(*place, "o", ms=11, mfc="none", mec=hue(BLUE, dark), mew=1.6)
            right.spines["right"].set_visible(True)
            axes.set_title(f"{name.replace('_', ' ')}: {arm['verdict']}")
            axes.set_xlabel("KL from the start (nats per answer)")
            axes.grid(axis="y")
        canvas.tight_layout()
        return figure_bytes(canvas, image_format)


def _thin(axes: Axes, grid: Sequence[float], values: Sequence[float | None], colour: str, line: str) -> None:
    known = [(kl, value) for kl, value in zip(grid, values, strict=True) if value is not None]
    axes.plot([kl for kl, _ in known], [value for _, value in known], line, color=colour, lw=0.8, alpha=0.4)


def _band(axes: Axes, points: Sequence[Mapping[str, Any]], name: str, colour: str, line: str) -> None:
    known = [(point["kl"], point[name]) for point in points if point[name]["mean"] is not None]
    if not known:
        axes.annotate("not known", (0.02, 0.04), xycoords="axes fraction", fontsize=8.5, color=colour)
        return
    xs, means = [kl for kl, _ in known], [each["mean"] for _, each in known]
    axes.plot(xs, means, line, color=colour, marker="o", ms=3.5, lw=1.8)
    banded = [(kl, each["low"], each["high"]) for kl, each in known if each["low"] is not None]
    if banded:
        kls, lows, highs = zip(*banded, strict=True)
        axes.fill_between(kls, lows, highs, color=colour, alpha=0.17 if name == "gold" else 0.07, lw=0)


def best_of_n_kl_plot(results: dict[str, Any], *, dark: bool = False, image_format: ImageFormat = "svg") -> bytes:
    """Gold (left axis) and proxy (right axis, dashed) of the pick over the KL that picking costs.

    Where the proxy still rises and gold falls, picking pleases the proxy alone (Gao et al. 2023,
    arXiv:2210.10760). Bars are 95 % intervals.

    Args:
        results: of `best_of_n.over_optimisation`.
        dark: for a dark page.
        image_format: svg or png.
    """
    with figure_style(dark):
        canvas, (axes,) = panel_grid(1, columns=1, size=(5.8, 3.6))
        right = axes.twinx()
        looks: list[tuple[Axes, str, str, str, str]] = [
            (axes, "gold", BLUE, "-", "gold score of the pick"),
            (right, "proxy", VERMILION, "--", "proxy score of the pick"),
        ]
        for side, name, colour, line, title in looks:
            shown = hue(colour, dark)
            _bars(side, [(p["kl"], p[name]) for p in results["points"]], shown, line)
            side.set_ylabel(title, color=shown)
            side.tick_params(axis="y", colors=shown)
        right.spines["right"].set_visible(True)
        for point in results["points"]:
            if point["gold"]["mean"] is not None:
                place = (point["kl"], point["gold"]["mean"])
                axes.annotate(f"N {point['n']}", place, xytext=(4, 6), textcoords="offset points", fontsize=8)
        axes.set_xlabel("KL from the policy, log N - (N - 1) / N (nats)")
        axes.grid(axis="y")
        return figure_bytes(canvas, image_format)


def _bars(axes: Axes, points: Sequence[tuple[float, dict[str, Any]]], colour: str, line: str) -> None:
    known = [(kl, score) for kl, score in points if score["mean"] is not None]
    means = [score["mean"] for _, score in known]
    bars = [
        [0.0 if score[end] is None else abs(score[end] - score["mean"]) for _, score in known]
        for end in ("low", "high")
    ]
    kls = [kl for kl, _ in known]
    axes.errorbar(kls, means, yerr=bars, color=colour, linestyle=line, marker="o", ms=4, lw=1.6, elinewidth=1)
