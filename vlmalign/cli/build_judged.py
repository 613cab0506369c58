"""`vlmalign build judge-pairs`: preference pairs from judgements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmalign.cli.build import app
from vlmalign.cli.commands import stage_command
from vlmalign.cli.settings import make_settings


@stage_command(app, "judge-pairs", shards=True)
def judge_pairs(
    cases: Path,
    candidates: Path,
    judgements: Path,
    out: Path,
    criterion: str | None = None,
    judge: str | None = None,
    score: str = "score",
    pairing: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Preference pairs by a judge's scores or verdicts: best against worst, or all."""
    from data_builders.judged_pairs import DEFAULT, build_judged_pairs
    from data_builders.pairing import PairingConfig

    rules = make_settings(PairingConfig, {"min_margin": DEFAULT.min_margin, **(pairing or {})}, where="pairing")
    build_judged_pairs(
        cases, candidates, judgements, out, criterion=criterion, judge=judge, score=score, pairing=rules,
        overwrite=overwrite,
    )  # fmt: skip
