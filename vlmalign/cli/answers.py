"""A stage: a model answers held-out cases, greedily and sampled, as reports and as conversations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlmalign.cli.generate import generate
from vlmalign.cli.stages import stage

MODES = ("greedy", "sampled")
KINDS = ("report", "conversation")


@stage("answers")
def answers(
    model: Path,
    cases: Path,
    out: Path,
    logic: str,
    concepts: Sequence[str] = (),
    seed: int = 0,
    blank_images: bool = False,
    batch_size: int = 128,
    report_tokens: int = 110,
    answer_tokens: int = 24,
    modes: Sequence[str] = MODES,
) -> None:
    """Write `out/<mode>_<kind>`: candidates at temperature 0 and 1, reports and conversations."""
    for mode in modes:
        for kind in KINDS:
            generate(
                model=model,
                cases=cases,
                out=out / f"{mode}_{kind}",
                n=1,
                temperature=0.0 if mode == "greedy" else 1.0,
                max_new_tokens=report_tokens if kind == "report" else answer_tokens,
                seed=seed,
                kind=kind,  # type: ignore[arg-type]
                logic=logic if kind == "conversation" else "",
                concepts=list(concepts) or None if kind == "conversation" else None,
                batch_size=batch_size,
                blank_images=blank_images,
            )
