"""The design of a reader study as a stage, for recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmalign.cli.settings import make_settings
from vlmalign.cli.stages import stage


@stage("reader-study-design", continues=False)
def design(
    out: Path,
    readers: list[str],
    purpose: str,
    cases: list[Path] | None = None,
    arms: dict[str, str] | None = None,
    pairs: Path | None = None,
    plan: dict[str, Any] | None = None,
    judged: Path | None = None,
    earlier: list[Path] | None = None,
    trained_on: list[Path] | None = None,
    leave_out_used: bool = False,
    overwrite: bool = False,
) -> Path:
    """Choose cases, allocate them to readers, and write the study with its key.

    Args:
        out: the study folder.
        readers: names or pseudonyms.
        purpose: training or evaluation.
        cases: folders of cases.
        arms: name -> folder of candidates, `reference`, or a CSV of reports.
        pairs: instead of cases and arms: pairs to be decided.
        plan: all other settings of `vlmalign.reader_study.StudyPlan`.
        judged: scores of the candidates; with select uncertain.
        earlier: earlier studies, whose cases are not reused.
        trained_on: records that models learnt from; not read for evaluation.
        leave_out_used: leave such cases out and count them, instead of refusing.
        overwrite: replace a study of other settings.
    """
    from vlmalign.reader_study import StudyPlan, design_study

    settings = {**(plan or {}), "readers": readers, "purpose": purpose}
    return design_study(
        make_settings(StudyPlan, settings, where="reader-study-design, plan"),
        out,
        cases=cases or (),
        arms=arms,
        pairs=pairs,
        judged=judged,
        earlier=earlier or (),
        trained_on=trained_on or (),
        leave_out_used=leave_out_used,
        overwrite=overwrite,
    )
