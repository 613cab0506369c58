"""Dropping sentences that no single image supports from labelled reports, as far as their kind is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from vlmalign.clinical import Logic, parse_text
from vlmalign.records import Case, DatasetBuild, ImageRef, RecordFolder, Reference


def filter_unsupported(
    cases: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    kinds: Collection[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the cases again with the unsupported sentences of known kinds cut from `reference.text`.

    Everything else stays as it is, wrong claims and unknown kinds of statement included: the filter knows
    wording, not pictures.

    Args:
        cases: Case folder with reports.
        out: the new Case folder.
        logic: the domain's clinical logic, which lists the kinds.
        kinds: cut only these; None cuts all that the logic lists.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `sentences`, `cut_<kind>`, `cut_with_claims` (cut sentences that
        also made a claim, which is lost with them), `cases_without_report` and `empty_reports` (both left
        out).

    Raises:
        ValueError: a kind that the logic does not list.
        DataError: a folder is missing or of another kind.
    """
    kinds = sorted(logic.unsupported if kinds is None else kinds)
    if unknown := set(kinds) - set(logic.unsupported):
        raise ValueError(f"kinds {sorted(unknown)} are unknown: choose among {sorted(logic.unsupported)}")
    folder = RecordFolder(cases, Case)
    config = {"builder": "statement_filter@1", "cases": folder.sha256, "logic": logic.fingerprint, "kinds": kinds}
    manifest = folder.manifest
    with DatasetBuild(
        out, "case", config, overwrite=overwrite, notes=manifest.notes, data_use=manifest.data_use
    ) as build:
        if build.finished:
            return build.path
        for case in folder:
            if build.has(case.id):
                continue
            if case.reference is None or not case.reference.text:
                build.commit(case.id, [], {"cases_without_report": 1})
                continue
            text, counts = without_unsupported(logic, case.reference.text, kinds)
            if not text:
                build.commit(case.id, [], {**counts, "empty_reports": 1})
                continue
            for image in (*case.images, *_masks(case.reference)):
                build.adopt(image, folder.path)
            reference = case.reference.model_copy(update={"text": text})
            build.commit(case.id, [case.model_copy(update={"reference": reference})], counts)
    return build.path


def _masks(reference: Reference) -> list[ImageRef]:
    """Mask files of findings that stay in the record; only their paths matter here."""
    places = {f.region.mask: f for f in reference.findings if f.region is not None and f.region.mask}
    return [finding.image.model_copy(update={"path": place}) for place, finding in places.items()]


def without_unsupported(logic: Logic, text: str, kinds: Collection[str] | None = None) -> tuple[str, Counter[str]]:
    """A text without its sentences of the given unsupported kinds, and what was cut.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> without_unsupported(load_logic("peripheral_smear"), "Unchanged from the previous smear.")[0]
        ''
    """
    parsed = parse_text(logic, text)
    cut = {u.sentence: u.kind for u in parsed.unsupported if kinds is None or u.kind in kinds}
    with_claims = {claim.sentence for claim in parsed.claims}
    counts: Counter[str] = Counter(sentences=len(parsed.sentences))
    for sentence, kind in cut.items():
        counts[f"cut_{kind}"] += 1
        counts["cut_with_claims"] += sentence in with_claims
    return " ".join(s for k, s in enumerate(parsed.sentences) if k not in cut), +counts
