"""`vlmalign demo`: the whole path in one command, on phantoms or on real photographs."""

from __future__ import annotations

from collections.abc import Mapping
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
    import json

    from vlmalign.cli.arm_results import MARGIN
    from vlmalign.cli.demo_plan import PRESETS, Demo, plan
    from vlmalign.cli.demo_results import Seed, collect
    from vlmalign.cli.online_arms import chosen_algorithms, online_arms, online_steps
    from vlmalign.cli.pipeline import run_pipeline
    from vlmalign.evaluation import check_results

    _check(source, data, seeds, jobs)
    algorithms = chosen_algorithms(align)
    settings = {
        "source": source, "data": str(data) if data else None, "seed": seed, "preset": preset, "align": algorithms,
    }  # fmt: skip
    claim(out, settings)
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
    _write(out / "results.json", json.dumps(results, indent=1, sort_keys=True, allow_nan=False))
    for name, comparison in results["comparisons"].items():
        console.print(f"{name}: {comparison['conclusion']}. {comparison['in_words']}", markup=False)
    console.print(f"wrote {report} and {out / 'results.json'}", markup=False)


def _check(source: str, data: Path | None, seeds: int, jobs: int) -> None:
    check_source(source, data)
    if seeds < 1 or jobs < 1:
        raise ValueError(f"--seeds {seeds}, --jobs {jobs}: both must be at least 1")


def check_source(source: str, data: Path | None) -> None:
    """Refuse a source and a folder of data that do not go together."""
    if source == "bccd" and data is None:
        raise ValueError("--source bccd needs --data: the folder that holds JPEGImages and Annotations")
    if source == "smear" and data is not None:
        raise ValueError("--data goes with --source bccd: phantoms read no data")
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"--data {data}: no such folder. Check the path.")


def claim(out: Path, settings: Mapping[str, object], file: str = "demo.json", what: str = "demo") -> None:
    """Refuse a folder in which the same with other settings was begun.

    Args:
        out: the folder.
        settings: to compare.
        file: where the folder keeps them.
        what: for messages.
    """
    import json

    path = out / file
    out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = {"align": ["dpo"], **json.loads(path.read_text())}
        begun = any(any(folder.iterdir()) for folder in out.iterdir() if folder.is_dir())
        changed = [f"{k}: {old.get(k)!r} there, {v!r} here" for k, v in settings.items() if old.get(k) != v]
        if changed and begun:
            raise ValueError(
                f"{out} holds a {what} with other settings ({'; '.join(changed)}). Choose another --out."
            )
    elif any(out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no {what}. Choose another --out.")
    _write(path, json.dumps(settings, indent=1, sort_keys=True))


def _write(path: Path, text: str) -> None:
    from vlmalign.records.manifest import write_atomic

    write_atomic(path, (text + "\n").encode())
