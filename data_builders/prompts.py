"""Cases without their answers: what a policy may be asked, and all that a pair builder gets to see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlmalign.records import Case, DatasetBuild, RecordFolder
from vlmalign.records.manifest import strictest


def build_prompts(
    folders: Sequence[str | Path], out: str | Path, *, max_cases: int | None = None, overwrite: bool = False
) -> Path:
    """Write the cases of several folders as one, references removed.

    Args:
        folders: Case folders, in this order.
        out: the new Case folder.
        max_cases: keep at most so many in all, taken at even distances so that every group is as likely;
            the others are counted as `left_out`.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `references_removed`.

    Raises:
        ValueError: `max_cases` is below 1.
        DataError: a folder is missing or of another kind, or two hold a case of the same id.
    """
    if max_cases is not None and max_cases < 1:
        raise ValueError(f"max_cases is {max_cases}: at least 1 is required")
    opened = [RecordFolder(folder, Case) for folder in folders]
    total = sum(len(folder) for folder in opened)
    n = total if max_cases is None else min(max_cases, total)
    kept = {i * total // n for i in range(n)}
    config = {"builder": "prompts", "cases": [folder.sha256 for folder in opened], "max_cases": max_cases}
    data_use = strictest(folder.manifest.data_use for folder in opened)
    with DatasetBuild(out, "case", config, overwrite=overwrite, data_use=data_use) as build:
        numbered = ((folder, case) for folder in opened for case in folder)
        for number, (folder, case) in enumerate(numbered):
            unit = str(number)  # not the id: a second case of the same id is an error, not a unit that is done
            if build.has(unit):
                continue
            if number not in kept:
                build.commit(unit, [], {"left_out": 1})
                continue
            for ref in case.images:
                build.adopt(ref, folder.path)
            removed = int(case.reference is not None)
            build.commit(unit, [case.model_copy(update={"reference": None})], {"references_removed": removed})
    return Path(out)
