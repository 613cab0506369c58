"""Benchmarks by name, each an adapter in the `ADAPTERS` of a module of this package.

Modules are imported when a benchmark is used, so that the list of names costs nothing.
"""

from __future__ import annotations

from importlib import import_module

from vlmalign.evaluation.benchmarks.protocol import Benchmark
from vlmalign.records.suggestions import unknown

#: name -> module of this package that holds it
BENCHMARKS: dict[str, str] = {
    "calibration": "calibration",
    "chair": "chair",
    "hallusionbench": "hallusionbench",
    "mediconfusion": "mediconfusion",
    "mj-bench": "mj_bench",
    "mj-bench-bias": "mj_bench_bias",
    "mm-vet": "mm_vet",
    "mmbench": "mmbench",
    "path-vqa": "medical_vqa",
    "pope": "pope",
    "report-findings": "report_findings",
    "reward-bench": "reward_bench",
    "reward-bench-2": "reward_bench_2",
    "rm-bench": "rm_bench",
    "scienceqa": "scienceqa",
    "slake": "medical_vqa",
    "staging": "staging",
    "vl-rewardbench": "vl_rewardbench",
    "vqa-rad": "medical_vqa",
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        ValueError: no such name, with the nearest one.

    Example:
        >>> find_benchmark("vl-rewardbenhc")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: unknown benchmark 'vl-rewardbenhc'. ...
    """
    if name not in BENCHMARKS:
        raise ValueError(unknown("benchmark", name, BENCHMARKS))
    adapters: tuple[Benchmark, ...] = import_module(f"{__package__}.{BENCHMARKS[name]}").ADAPTERS
    return next(adapter for adapter in adapters if adapter.name == name)
