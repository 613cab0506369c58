"""`vlmalign build consultations`: examples that teach a model when to call an expert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vlmalign.cli import build
from vlmalign.cli.commands import stage_command


@stage_command(build.app, "consultations", shards=True)
def consultations(
    cases: Path,
    findings: Sequence[Path],
    expert: Path,
    out: Path,
    logic: str,
    labels: Literal["reports", "reference"] = "reports",
    questions_per_case: int = 2,
    reports: bool = True,
    seed: int = 0,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Examples of when to call an expert and how to answer by what it says, from its findings (VILA-M3)."""
    from data_builders.consultations import build_consultations
    from experts import read_card
    from experts.script import ExpertScript
    from vlmalign.clinical import load_logic

    build_consultations(
        cases, list(findings), out, logic=load_logic(logic), script=ExpertScript(read_card(expert)), labels=labels,
        questions_per_case=questions_per_case, reports=reports, seed=seed, min_probability=min_probability,
        overwrite=overwrite,
    )  # fmt: skip
