"""Benchmarks as adapters over local files: published log formats and our own, scored with intervals."""

from vlmalign.evaluation.benchmarks.protocol import Benchmark, BenchmarkResult, Item, Option, Table
from vlmalign.evaluation.benchmarks.registry import BENCHMARKS, find_benchmark
from vlmalign.evaluation.benchmarks.running import run_benchmark, score_files

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkResult",
    "Item",
    "Option",
    "Table",
    "find_benchmark",
    "run_benchmark",
    "score_files",
]
