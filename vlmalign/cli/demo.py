"""`vlmalign demo`: the whole path in one command, on phantoms or on real photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlmalign.cli.console import console


def demo(
    source: Annotated[
        Literal["smear", "bccd"], typer.Option(help="procedural blood smears, or real photographs (BCCD)")
    ] = "smear",
    data: Annotated[
        Path | None, typer.Option(help="folder of the BCCD photographs; only with --source bccd")
    ] = None,
    out: Annotated[Path, typer.Option(help="where everything is written")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="the first seed: of data, training and sampling")] = 0,
    seeds: Annotated[int, typer.Option(help="how many seeds; intervals then cover seeds and groups")] = 1,
    jobs: Annotated[int, typer.Option(help="stages that run at once; the processors are divided")] = 2,
    align: Annotated[
        str, typer.Option(help="dpo, and after a comma ppo or grpo: their arms are added to the report")
    ] = "dpo",
    preset: Annotated[
        Literal["full", "quick"], typer.Option(help="quick: a minute or two, too small for conclusions")
    ] = "full",
) -> None:
    """Images, findings, preference pairs, a reward model, DPO with its controls, and a report of what is true.

    For example: vlmalign demo, with online arms: vlmalign demo --align dpo,ppo,grpo --out runs/online, or on
    photographs: vlmalign demo --source bccd --data BCCD --out runs/bccd

    Leaves OUT/report.html and OUT/results.json. The same command continues a stopped demo.
    """
    from vlmalign.cli.arm_results import MARGIN
    from vlmalign.cli.demo_plan import PRESETS, Demo, check_source, plan
    from vlmalign.cli.demo_results import Seed, collect
    from vlmalign.cli.online_arms import chosen_algorithms, online_arms, online_steps
    from vlmalign.cli.pipeline import run_pipeline
    from vlmalign.cli.run_record import claim, write_results
    from vlmalign.evaluation import check_results

    check_source(source, data)
    if seeds < 1 or jobs < 1:
        raise ValueError(f"--seeds {seeds}, --jobs {jobs}: both must be at least 1")
    algorithms = chosen_algorithms(align)
    settings = {
        "source": source, "data": str(data) if data else None, "seed": seed, "preset": preset, "align": algorithms,
    }  # fmt: skip
    claim(out, settings, "demo.json", "demo")
    finished = []
    for number in range(seed, seed + seeds):
        one = Demo(out / f"seed-{number}", source, data, number, PRESETS[preset])
        title = f"demo, seed {number}" if seeds > 1 else "demo"
        run_pipeline([*plan(one), *online_steps(one, algorithms)], one.root, jobs=jobs, title=title)
        finished.append(Seed(one.root, number))
    results, items = collect(
        finished, source, {**settings, "seeds": seeds}, crossed=source != "smear", online=online_arms(algorithms)
    )
    check_results(results, complete=True)
    from vlmalign.cli.demo_report import write_report

    report = write_report(results, items, finished[0], out / "report.html", MARGIN)
    written = write_results(out, results)
    for name, comparison in results["comparisons"].items():
        console.print(f"{name}: {comparison['conclusion']}. {comparison['in_words']}", markup=False)
    console.print(f"wrote {report} and {written}", markup=False)
