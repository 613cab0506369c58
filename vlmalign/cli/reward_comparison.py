"""The stage that trains and compares rewards, to a report: `vlmalign recipes run reward-comparison`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vlmalign.cli.stages import stage


@stage("reward-comparison")
def reward_comparison(
    out: Path,
    source: Literal["smear", "bccd"] = "smear",
    data: Path | None = None,
    seed: int = 0,
    ppo_seeds: int = 5,
    jobs: int = 2,
    preset: Literal["full", "quick"] = "full",
) -> None:
    """Train rewards on the same pairs, test them with and without the picture, and climb one of them.

    Args:
        out: where everything is written; OUT/report.html and OUT/results.json at the end.
        source: procedural blood smears, or real photographs (BCCD).
        data: folder of the photographs; only with source bccd.
        seed: of data, training and sampling.
        ppo_seeds: seeds of online training, plain and pessimistic; phantoms only, whose truth is known.
        jobs: stages that run at once; the processors are divided.
        preset: quick: minutes, too small for conclusions.
    """
    from vlmalign.cli.demo_plan import PRESETS, Demo, check_source
    from vlmalign.cli.pipeline import run_pipeline
    from vlmalign.cli.reward_comparison_plan import comparison_steps
    from vlmalign.cli.reward_comparison_report import write_comparison_report
    from vlmalign.cli.reward_comparison_results import collect_comparison
    from vlmalign.cli.run_record import claim, write_results

    check_source(source, data)
    for name, value in (("ppo_seeds", ppo_seeds), ("jobs", jobs - 1)):
        if value < 0:
            raise ValueError(f"{name} is {value}: raise it")
    seeds = list(range(seed, seed + ppo_seeds)) if source == "smear" else []
    settings: dict[str, Any] = {
        "source": source, "data": str(data) if data else None, "seed": seed, "ppo_seeds": len(seeds),
        "preset": preset,
    }  # fmt: skip
    claim(out, settings, "comparison.json", "comparison")
    demo = Demo(out, source, data, seed, PRESETS[preset])
    run_pipeline(comparison_steps(demo, len(seeds)), out, jobs=jobs, title="rewards")
    results = collect_comparison(demo, settings, seeds)
    write_comparison_report(results, demo, out / "report.html")
    write_results(out, results)
