"""Log files in the formats that benchmarks publish."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmalign.evaluation.benchmarks import BenchmarkResult, find_benchmark, run_benchmark


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Path]:
    """`write_log("a.jsonl", rows)`: the ending tells the format; anything but a list only as .json."""

    def write(name: str, rows: object) -> Path:
        path = tmp_path / name
        if path.suffix == ".json":
            path.write_text(json.dumps(rows))
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            with open(path, "w", newline="") as file:
                writer = csv.DictWriter(file, columns, delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        return path

    return write


@pytest.fixture
def run() -> Callable[..., BenchmarkResult]:
    """`run("pope", file, option=value)`."""

    def run_(name: str, *files: Path, **options: object) -> BenchmarkResult:
        return run_benchmark(find_benchmark(name), files, options)

    return run_


@pytest.fixture
def means() -> Callable[..., dict[str, float | None]]:
    """A row's means, rounded to four places."""

    def means_(result: BenchmarkResult, table: str, row: str = "all") -> dict[str, float | None]:
        found = result.baselines if table == "baselines" else result.table(table)
        return {
            name: None if e is None or e.mean is None else round(e.mean, 4) for name, e in found.rows[row].items()
        }

    return means_
