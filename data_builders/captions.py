"""General captions: what a picture shows in everyday words, without any clinical term.

They play the part of the general pre-training that a real vision-language model brings along: the demo's
starting checkpoint has seen pictures described like this, and never a report. Each caption leaves out
some of what is there and tells the rest in any order, as captions do.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from vlmalign.records import Case, DatasetBuild, Demonstration, Finding, RecordFolder, assistant, user
from vlmalign.records.hashing import derive_seed

PROMPT = "What is in this picture?"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PLAIN_WORDS = {
    ("focus", "sharp"): "crisp edges",
    ("focus", "blurred"): "soft edges",
    ("stain", "normal"): "medium colour",
    ("stain", "pale"): "faint colour",
    ("stain", "dark"): "strong colour",
    ("leukocyte_kind", "segmented"): "lobed core",
    ("leukocyte_kind", "mononuclear"): "round core",
}


def caption(findings: Iterable[Finding], *, seed: int, keep: float = 0.8) -> str:
    """A caption of a picture, from its findings.

    Args:
        findings: measurements and categories of one picture.
        seed: decides order and omissions.
        keep: probability that each detail is told.

    Example:
        >>> from vlmalign.records import ImageRef
        >>> image = ImageRef(path="x.png", sha256="0" * 64)
        >>> found = [Finding(id="a", image=image, concept="platelet_count", status="present", value=3.0,
        ...                  expert="t@1")]
        >>> caption(found, seed=0, keep=1.0)
        'three specks.'
    """
    rng = random.Random(seed)
    details = [phrase for phrase in map(_phrase, findings) if phrase and rng.random() < keep]
    rng.shuffle(details)
    return ", ".join(details) + "." if details else "a picture."


def _phrase(finding: Finding) -> str | None:
    value = finding.value
    if isinstance(value, str):
        return PLAIN_WORDS.get((finding.concept, value))
    if value is None:
        return None
    if finding.concept == "red_cell_cover":
        return f"{5 * round(20 * value)} percent filled"
    noun = {"leukocyte_count": "big cell", "platelet_count": "speck"}.get(finding.concept)
    if noun is None:
        return None
    count = round(value)
    word = NUMBERS[count] if count < len(NUMBERS) else "many"
    return f"{word} {noun}" if count == 1 else f"{word} {noun}s"


def build_captions(
    cases: str | Path, out: str | Path, *, seed: int = 0, keep: float = 0.8, overwrite: bool = False
) -> Path:
    """Write one caption demonstration per case of a folder whose findings are known.

    Raises:
        DataError: a folder is missing or was built with other settings.
    """
    folder = RecordFolder(cases, Case)
    config = {"builder": "captions", "cases": folder.sha256, "seed": seed, "keep": keep}
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, data_use=data_use) as build:
        for case in folder:
            if build.has(case.id):
                continue
            if case.reference is None or not case.reference.findings:
                build.commit(case.id, [], {"no_findings": 1})
                continue
            text = caption(case.reference.findings, seed=derive_seed(seed, "caption", case.id), keep=keep)
            record = Demonstration(
                id=f"{case.id}/caption",
                case_id=case.id,
                group_id=case.group_id,
                split="train",
                images=tuple(build.adopt(ref, folder.path) for ref in case.images),
                prompt=(user(PROMPT, images=len(case.images)),),
                response=(assistant(text),),
                source="captions",
            )
            build.commit(case.id, [record])
    return Path(out)
