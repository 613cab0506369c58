"""Rows as papers print them, in percent: to compare a re-scored log with, and to lint."""

from __future__ import annotations

from collections.abc import Mapping

from vlmalign.evaluation.benchmarks.protocol import Table
from vlmalign.records.suggestions import unknown

_VL_COLUMNS = ("general", "hallucination", "reasoning", "overall (micro)", "macro")

#: VL-RewardBench as listed in the IXC-2.5-Reward paper (Zang et al. 2025, arXiv:2501.12368)
VL_REWARDBENCH: Mapping[str, Mapping[str, float]] = {
    name: dict(zip(_VL_COLUMNS, values, strict=True))
    for name, values in {
        "Gemini-1.5-Pro": (50.8, 72.5, 64.2, 67.2, 62.5),
        "GPT-4o": (49.1, 67.6, 70.5, 65.8, 62.4),
        "Gemini-1.5-Flash": (47.8, 59.6, 58.4, 57.6, 55.3),
        "Claude-3.5-Sonnet": (43.4, 55.0, 62.3, 55.3, 53.6),
        "Llama-3.2-90B": (42.6, 57.3, 61.7, 56.2, 53.9),
        "InternVL2-8B": (35.6, 41.1, 59.0, 44.5, 45.2),
        "GPT-4o-mini": (41.7, 34.5, 58.2, 41.5, 44.8),
        "NVLM-D-72B": (38.9, 31.6, 62.0, 40.1, 44.1),
        "Molmo-72B": (33.9, 42.3, 54.9, 44.1, 43.7),
        "Qwen2-VL-72B": (38.1, 32.8, 58.0, 39.5, 43.0),
        "Llama-3.2-11B": (33.3, 38.4, 56.6, 42.9, 42.8),
        "Pixtral-12B": (35.6, 25.9, 59.9, 35.8, 40.4),
        "Molmo-7B": (31.1, 31.8, 56.2, 37.5, 39.7),
        "LLaVA-OV-7B": (32.2, 20.1, 57.1, 29.6, 36.5),
        "Qwen2-VL-7B": (31.6, 19.1, 51.1, 28.3, 33.9),
        "LLaVA-Critic-8B": (54.6, 38.3, 59.1, 41.2, 44.0),
        "IXC-2.5-Reward": (84.7, 62.5, 62.9, 65.8, 70.0),
    }.items()
}

#: MJ-Bench (Chen et al. 2024, arXiv:2407.04842), from the project's page: ACC, NDS, GES of the bias perspective
MJ_BENCH_BIAS: Mapping[str, tuple[float, float, float]] = {
    "CLIP-v2": (57.4, 76.3, 86.9),
    "BLIP-v2": (68.7, 83.7, 91.3),
    "PickScore-v1": (31.0, 66.5, 81.1),
    "HPS-v2.1": (55.0, 77.9, 87.6),
    "ImageReward": (40.9, 73.7, 85.3),
    "Aesthetics": (61.4, 85.7, 92.1),
    "GPT-4o": (65.8, 82.5, 92.8),
    "GPT-4o, 0-5": (66.6, 82.7, 92.9),
    "GPT-4o, 0-10": (26.2, 74.2, 86.5),
    "Claude 3 Opus": (57.7, 65.6, 85.0),
    "Claude 3 Opus, 0-5": (58.2, 66.1, 85.2),
    "Claude 3 Opus, 0-10": (52.1, 59.5, 82.1),
}


def differences(rows: Mapping[str, Mapping[str, float]], name: str, table: Table, column: str) -> list[str]:
    """Where a re-scored log meets a printed row, and where it does not, one sentence each.

    Args:
        rows: printed rows, in percent with one decimal.
        name: of the row.
        table: the figures of the log; rows are named as the printed columns are.
        column: the figure to compare.

    Raises:
        ValueError: no such row.
    """
    if name not in rows:
        raise ValueError(f"option paper: {unknown('row', name, rows)}")
    same, found = [], []
    for key, printed in rows[name].items():
        estimate = table.rows.get(key, {}).get(column)
        if estimate is None or estimate.mean is None:
            found.append(f"the paper's {key} {printed}: the log has no such figure")
            continue
        here = 100 * estimate.mean
        if abs(here - printed) <= 0.05 + 1e-9:
            same.append(f"{key} {printed}")
            continue
        inside = (
            estimate.low is not None and estimate.high is not None
            and 100 * estimate.low <= printed <= 100 * estimate.high
        )  # fmt: skip
        found.append(
            f"the paper's row {name!r} says {key} {printed}, this log gives {here:.2f} "
            f"({'inside' if inside else 'outside'} its interval)"
        )
    return [f"as in the paper's row {name!r}: {', '.join(same)}" if same else f"nothing is as in {name!r}", *found]
