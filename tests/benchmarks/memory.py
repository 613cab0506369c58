"""Resident memory of this process, as Linux counts it."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def restart_peak() -> float:
    """Let the peak begin here, and say what is resident now, in MB (that of getrusage outlives a fork)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _megabytes("VmRSS")


def peak() -> float:
    """The most that was resident since `restart_peak`, in MB."""
    return _megabytes("VmHWM")


def _megabytes(name: str) -> float:
    rows = STATUS.read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(name + ":")) / 1024
