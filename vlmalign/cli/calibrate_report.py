"""What `vlmalign calibrate` prints and draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlmalign.cli.console import console
from vlmalign.evaluation.calibration_report import CalibrationReport
from vlmalign.evaluation.estimate import Estimate
from vlmalign.records.writing import put
from vlmalign.rewards.calibration_file import Calibration

FAR = (-1e9, -1.0, 0.0, 1.0, 1e9)  # scores that any calibration tells apart, unless it tells nothing


def print_report(calibration: Calibration, reports: Mapping[str, CalibrationReport]) -> None:
    """A small table per set of items, and the promises."""
    lines = [
        f"{calibration.judge}: {calibration.calibrator.method} of {calibration.target}s, fitted to "
        f"{calibration.n} items of {calibration.n_groups} groups"
    ]
    for name, report in reports.items():
        lines += ["", *_table(name, report, calibration)]
    if len(set(calibration.calibrator.predict(FAR, [0.0] * len(FAR)).p.tolist())) == 1:
        lines += ["", "the reward orders these items no better than a coin: all have the same probability"]
    lines += ["", "promised, on data drawn like the calibration data:"]
    lines += [f"  {told}" for told in calibration.guarantees]
    if any(report.standing != reports["held out"].standing for report in reports.values()):
        lines.append("  another policy's answers are not drawn like them: no guarantee there.")
    console.print("\n".join(lines), markup=False)


def _table(name: str, report: CalibrationReport, calibration: Calibration) -> list[str]:
    left_out = ", ".join(f"{key.replace('_', ' ')} {n}" for key, n in report.counts.items() if n)
    brier = report.after.brier
    lines = [
        f"{name} ({report.standing}): {brier.n} items of {brier.n_groups} groups"
        + (f"; left out: {left_out}" if left_out else ""),
        f"{'':24}{'before':26}{'after':26}after - before",
    ]
    rows: list[tuple[str, Estimate, Estimate, Estimate | None]] = [
        ("ECE, 10 equal bins", report.before.ece, report.after.ece, report.difference["ece"]),
        ("ECE, bins of equal n", report.before.ece_mass, report.after.ece_mass, None),
        ("Brier score", report.before.brier, report.after.brier, report.difference["brier"]),
        ("area, risk-coverage", report.curve_before.area, report.curve_after.area, None),
    ]
    for title, before, after, difference in rows:
        last = "" if difference is None else told(difference, signed=True)
        lines.append(f"{title:24}{told(before):26}{told(after):26}{last}".rstrip())
    if calibration.calibrator.method == "venn_abers":
        lines.append(f"{'width of [p0, p1]':24}{'':26}{told(report.width)}")
    if report.kept is not None and report.promised is not None and report.wrong_kept is not None:
        assert calibration.abstention is not None
        what = {"coverage": "not covered", "risk": "kept and wrong", "selective": "wrong among kept, by group"}
        lines.append(f"{'kept':24}{'':26}{told(report.kept)}")
        lines.append(f"{what[calibration.abstention.rule]:50}{told(report.promised)}")
        lines.append(f"{'wrong among the kept':24}{'':26}{told(report.wrong_kept)}")
    if report.std_gain is not None:
        gain = report.std_gain
        lines.append("AUROC of |margin| for the reward's errors, then with its std, fitted on other groups:")
        lines.append(
            f"{'':24}{told(gain.auroc_margin):26}{told(gain.auroc_margin_and_std):26}"
            f"{told(gain.difference, signed=True)}"
        )
    return lines


def told(estimate: Estimate, *, signed: bool = False) -> str:
    """A figure with its interval.

    Example:
        >>> told(Estimate(0.1234, 0.1, 0.2, 10, 5, 0, "t"))
        '0.123 (0.100 to 0.200)'
    """
    if estimate.mean is None:
        return "nothing scored"
    sign = "+" if signed else ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:{sign}.3f} (no interval)"
    return f"{estimate.mean:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


def write_plots(folder: Path, reports: Mapping[str, CalibrationReport]) -> None:
    """Write `reliability.svg` and `risk_coverage.svg`."""
    from vlmalign.evaluation.calibration_plots import reliability_plot, risk_coverage_plot

    names = {
        name: name if name == "held out" else f"{name} ({report.standing})" for name, report in reports.items()
    }
    figures = {
        f"{names[name]}, {when}": getattr(report, when)
        for name, report in reports.items()
        for when in ("before", "after")
    }
    curves = {
        f"{names[name]}, {when}": getattr(report, f"curve_{when}")
        for name, report in reports.items()
        for when in ("before", "after")
    }
    put(folder / "reliability.svg", reliability_plot(figures))
    put(folder / "risk_coverage.svg", risk_coverage_plot(curves))
