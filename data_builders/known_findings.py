"""Findings that are known from annotation, as the folder that an expert would have written.

On pictures that experts annotated themselves nobody needs a model: masks or boxes say what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlmalign.records import Case, DatasetBuild, Finding, RecordFolder


def build_known_findings(cases: str | Path, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the reference findings of a Case folder as a Finding folder.

    Args:
        cases: Case folder; a case without reference findings gives none, and is counted.
        out: the Finding folder.
        overwrite: replace a folder built from other cases.

    Returns:
        The folder. Its manifest counts `cases_without_findings`.

    Raises:
        DataError: a folder is missing or of another kind.
    """
    folder = RecordFolder(cases, Case)
    config = {"builder": "known_findings", "cases": folder.sha256}
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "finding", config, overwrite=overwrite, data_use=data_use) as build:
        for case in folder:
            if build.has(case.id):
                continue
            records = list(_findings(case, build, folder))
            build.commit(case.id, records, {"cases_without_findings": int(not records)})
    return Path(out)


def _findings(case: Case, build: DatasetBuild, folder: RecordFolder[Case]) -> Iterator[Finding]:
    for finding in case.reference.findings if case.reference else ():
        build.adopt(finding.image, folder.path)
        if finding.region is not None and finding.region.mask is not None:
            build.adopt_file(finding.region.mask, folder.path)
        yield finding.model_copy(update={"case_id": case.id})
