"""Reader studies: clinicians rate texts blind, and their ratings come back as records.

Example:
    >>> from vlmalign.reader_study import StudyPlan, cases_needed
    >>> StudyPlan(readers=("anna", "ben"), purpose="evaluation", n_cases=cases_needed(0.1, 2)).n_cases
    63
"""

from vlmalign.reader_study.collecting import Collected, Unblinded, collect
from vlmalign.reader_study.design import design_study
from vlmalign.reader_study.export import export_study
from vlmalign.reader_study.importing import import_answers, read_unblinded
from vlmalign.reader_study.plan import RATINGS, StudyPlan
from vlmalign.reader_study.sample_size import cases_needed
from vlmalign.reader_study.study import read_key, read_public

__all__ = [
    "RATINGS",
    "Collected",
    "StudyPlan",
    "Unblinded",
    "cases_needed",
    "collect",
    "design_study",
    "export_study",
    "import_answers",
    "read_key",
    "read_public",
    "read_unblinded",
]
