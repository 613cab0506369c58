"""A candidate answers a case, and means nothing without it."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from vlmalign.records.candidate import Candidate
from vlmalign.records.errors import DataError


def check_case_is_there(candidate: Candidate, known: Container[str], file: Path) -> None:
    """Refuse a candidate to a case that is not among the known ones.

    Args:
        candidate: what is read.
        known: ids of the cases.
        file: the folder of the candidate, for the error.

    Raises:
        DataError: it answers another case.
    """
    if candidate.case_id not in known:
        raise DataError(
            f"the candidate answers case {candidate.case_id!r}, which is not in the folder of cases",
            "Pass the folder of cases that the candidates were generated from.",
            file=file,
            record=candidate.id,
            field="case_id",
        )
