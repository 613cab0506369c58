"""`vlmalign build corruptions`: pairs that clinical logic makes of true texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmalign.cli.build import _logic, app
from vlmalign.cli.commands import stage_command
from vlmalign.cli.settings import make_settings


@stage_command(app, "corruptions")
def corruptions(
    texts: Path,
    out: Path,
    logic: str,
    cases: Path | None = None,
    findings: Sequence[Path] = (),
    from_reference: bool = False,
    corruption: dict[str, Any] | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Hard negatives: a true text over the same with one named claim flipped, added, dropped or contradicted."""
    from data_builders.corruption_pairs import CorruptionConfig, build_corruptions

    build_corruptions(
        texts, out, logic=_logic(logic), cases=cases, findings=_known(findings, from_reference),
        corruption=make_settings(CorruptionConfig, corruption or {}, where="corruption"),
        min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "broken-steps")
def broken_steps(
    cases: Path,
    out: Path,
    logic: str,
    findings: Sequence[Path] = (),
    steps: dict[str, Any] | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Pairs of conversations, the rejected one with one step off the path; by findings, or the reference."""
    from data_builders.broken_steps import BrokenStepConfig, build_broken_steps

    build_broken_steps(
        cases, out, logic=_logic(logic), findings=list(findings) or "reference",
        steps=make_settings(BrokenStepConfig, steps or {}, where="steps"),
        min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "rewrites")
def rewrites(
    demonstrations: Path,
    rewrites: Path,
    out: Path,
    logic: str,
    allow_unread: int = 0,
    per_text: int = 1,
    overwrite: bool = False,
) -> None:
    """Keep the rewrites of demonstrations that say the same claim by claim; refused.jsonl lists the others."""
    from data_builders.rewrites import verify_rewrites

    verify_rewrites(
        demonstrations, rewrites, out, logic=_logic(logic), allow_unread=allow_unread, per_text=per_text,
        overwrite=overwrite,
    )  # fmt: skip


def _known(findings: Sequence[Path], from_reference: bool) -> Any:
    if from_reference and findings:
        named = ", ".join(map(str, findings))
        raise ValueError(
            f"from_reference and findings ({named}) are given: what is known comes from one of them. "
            "Drop --from-reference, or --findings."
        )
    return "reference" if from_reference else list(findings) or None
