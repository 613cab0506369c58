"""An expert shown the images of cases."""

from __future__ import annotations

from collections.abc import Sequence

from experts.protocol import Examination, Expert, ImageContext, examine
from vlmalign.records import Case, RecordFolder


def examine_cases(expert: Expert, source: RecordFolder[Case], cases: Sequence[Case]) -> list[Examination]:
    """What an expert says of every image of some cases, in order."""
    shown = [(case, ref) for case in cases for ref in case.images]
    data_use = source.manifest.data_use
    contexts = [ImageContext(ref.spacing_mm, ref.laterality, data_use) for _, ref in shown]
    return list(examine(expert, [source.image(ref, record=case.id) for case, ref in shown], contexts))
