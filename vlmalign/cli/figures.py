"""Figures on the terminal: one line each, mean, interval, n."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlmalign.cli.console import console


def figure(score: Mapping[str, Any] | None, *, share: bool = True, signed: bool = False) -> str:
    """A figure in one line.

    Example:
        >>> figure({"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "n_groups": 5, "excluded": 2})
        '50.0 (40.0 to 60.0), n 10 · 5 groups · 2 excluded'
    """
    from vlmalign.evaluation.report_view import cell_of

    cell = cell_of(score, share=share, signed=signed)
    if cell is None:
        return "–"
    return f"{cell.value} ({cell.interval})" + (f", {cell.counts}" if cell.counts else "")


def show_rows(title: str, rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text under a title, their columns aligned."""
    lines = [list(row) for row in rows]
    console.print(f"\n{title}", markup=False, style="bold")
    columns = max((len(line) for line in lines), default=0)
    widths = [max((len(line[i]) for line in lines if i < len(line)), default=0) for i in range(columns)]
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        console.print(("  " + "  ".join(cells)).rstrip(), markup=False)
