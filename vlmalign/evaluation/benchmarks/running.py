"""Run a benchmark: check its options, read the files, score the items."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmalign.evaluation.benchmarks.prediction_files import prediction_files
from vlmalign.evaluation.benchmarks.protocol import Benchmark, BenchmarkResult, Option, OptionValue, unique_ids
from vlmalign.records import DataError
from vlmalign.records.suggestions import unknown

#: said where an adapter neither has baselines nor says why it has none
NO_BASELINE = "no null baseline: these files do not tell what an answer without a look at the image would earn"
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


def run_benchmark(
    benchmark: Benchmark, files: Sequence[str | Path], options: Mapping[str, str | OptionValue] | None = None
) -> BenchmarkResult:
    """`score_files` without its items."""
    return score_files(benchmark, files, options)[1]


def score_files(
    benchmark: Benchmark, files: Sequence[str | Path], options: Mapping[str, str | OptionValue] | None = None
) -> tuple[Sequence[Any], BenchmarkResult]:
    """Read prediction files and score them; the items come first.

    Args:
        benchmark: from `find_benchmark`.
        files: prediction files or folders in one of its formats.
        options: by name; texts are converted to the type of the option's default.

    Raises:
        ValueError: an unknown option or a value that it cannot have; no file.
        DataError: a file is missing, damaged or in no known format, or holds no item.
    """
    chosen = check_options(benchmark, options or {})
    if not files:
        raise ValueError(f"{benchmark.name}: no prediction file is given: pass --predictions FILE")
    paths = [Path(file) for file in files]
    for path in paths:
        if not path.exists():
            raise DataError("no such file", "Check the path.", file=path)
    items = benchmark.read(paths, **_taken(benchmark.read, chosen))
    if not items:
        under = ", ".join(f"{name}={value}" for name, value in (options or {}).items())
        raise DataError(f"it holds no item with {under}" if under else "it holds no item",
                        "Give predictions" + (", or leave the option out." if under else "."),
                        file=", ".join(map(str, paths)))  # fmt: skip
    unique_ids(items, paths)
    result = replace(
        benchmark.score(items, **_taken(benchmark.score, chosen)), options=chosen, files=prediction_files(paths)
    )
    if result.baselines is None and not any("baseline" in note for note in result.notes):
        result = replace(result, notes=(*result.notes, NO_BASELINE))
    return items, result


def check_options(benchmark: Benchmark, given: Mapping[str, str | OptionValue]) -> dict[str, OptionValue]:
    """All options of a benchmark, the given ones converted, the others at their defaults.

    Raises:
        ValueError: an unknown option, or a value that it cannot have.

    Example:
        >>> from vlmalign.evaluation.benchmarks.protocol import Benchmark, Option
        >>> toy = Benchmark("toy", "", "", {}, list, list, {"tau": Option(0.1, "tie threshold")})
        >>> check_options(toy, {"tau": "0.2"})
        {'tau': 0.2}
    """
    for name in given:
        if name not in benchmark.options:
            raise ValueError(f"{benchmark.name}: {unknown('option', name, benchmark.options)}")
    return {
        name: _convert(benchmark.name, name, option, given[name]) if name in given else option.default
        for name, option in benchmark.options.items()
    }


def _convert(benchmark: str, name: str, option: Option, given: str | OptionValue) -> OptionValue:
    def refuse(rule: str) -> ValueError:
        return ValueError(f"{benchmark}: option {name} is {given!r}, expected {rule}: {option.help}")

    if option.choices and str(given) not in option.choices:
        raise refuse(f"one of {', '.join(option.choices)}")
    kind = type(option.default)
    if kind is bool:
        if str(given).lower() not in (*TRUE, *FALSE):
            raise refuse("true or false")
        return str(given).lower() in TRUE
    rule = {int: "a whole number", float: "a finite number"}.get(kind, "a text")
    try:
        value = kind(given)
    except ValueError:
        raise refuse(rule) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse(rule)
    return value


def _taken(function: object, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return dict(options)
    return {name: value for name, value in options.items() if name in parameters}
