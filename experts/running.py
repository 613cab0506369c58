"""Running an expert over a Case folder: images in, Finding records out."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experts.examining import examine_cases
from experts.protocol import CERTAIN, Examination, Expert, Measured, Presence
from experts.ray_running import examine_on_ray, import_ray
from experts.registry import load_expert
from vlmalign.records import Case, DatasetBuild, Finding, ImageRef, RecordFolder, Region
from vlmalign.records.finding import Status
from vlmalign.records.progress import progress_bar


def run_expert(
    expert_folder: str | Path,
    cases_folder: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    batch_size: int = 64,
    backend: Literal["serial", "ray"] = "serial",
    workers: int | None = None,
) -> Path:
    """Write what an expert finds in every image of a Case folder.

    Each image gets one Finding for each of the expert's concepts, with value, standard deviation, status,
    probability (counts) and the label image. The manifest counts the findings of each status, and the
    cases of groups that the expert was trained on, where its findings are better than elsewhere.

    Args:
        expert_folder: what `train_expert` wrote, or a folder of a user's architecture.
        cases_folder: the cases; references are not looked at.
        out: the Finding folder; the same call continues an interrupted run.
        overwrite: replace a folder built with other settings.
        batch_size: cases a batch; part of the settings, since batches are the units of a continued run.
        backend: "serial" in this process, or "ray": Ray Data on the cluster of RAY_ADDRESS, else on this machine.
            Its machines must see both folders under the same paths. The bytes written are the same.
        workers: processes of the Ray backend; default: one for each of its CPUs.

    Returns:
        The Finding folder.

    Raises:
        DataError: the expert, a case or an image cannot be read, or `out` holds something else.
        ValueError: `batch_size` or `workers` below 1, or workers for a serial run.
        ImportError: Ray is asked for and not installed.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: at least 1 is required")
    if workers is not None and (workers < 1 or backend == "serial"):
        raise ValueError(f"workers is {workers} with backend {backend!r}: 1 or more are for backend 'ray'")
    if backend == "ray":
        import_ray()  # refused before anything is written
    expert = load_expert(expert_folder)
    source = RecordFolder(cases_folder, Case)
    config = {"expert": expert.card.id, "cases_sha256": source.sha256, "batch_size": batch_size}
    notes = {"expert": expert.card.id, "limits": " ".join(expert.card.limits)}
    data_use = source.manifest.data_use
    with DatasetBuild(out, "finding", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if build.finished:
            return build.path
        mine = build.part(math.ceil(len(source) / batch_size))
        todo = (
            (number, cases)
            for number, cases in enumerate(batches(source, batch_size))
            if number in mine and not build.has(f"cases-{number * batch_size}")
        )
        if backend == "ray":
            done = examine_on_ray(expert_folder, source, todo, workers)
        else:
            done = ((number, cases, examine_cases(expert, source, cases)) for number, cases in todo)
        with progress_bar(f"Running {expert.card.id}", len(mine)) as show:
            for number, cases, examinations in done:
                _commit(build, f"cases-{number * batch_size}", expert, source, cases, examinations)
                show(number + 1 - mine.start, "")
    return build.path


def batches(cases: Iterable[Case], size: int) -> Iterator[list[Case]]:
    """Cases in groups of `size`, the last perhaps smaller; one group at a time is in memory."""
    remaining = iter(cases)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _commit(
    build: DatasetBuild,
    unit: str,
    expert: Expert,
    source: RecordFolder[Case],
    cases: Sequence[Case],
    examinations: Sequence[Examination],
) -> None:
    places = [(case, number, ref) for case in cases for number, ref in enumerate(case.images)]
    findings: list[Finding] = []
    counts: Counter[str] = Counter(
        cases_of_training_groups=sum(case.group_id in expert.card.training_groups for case in cases)
    )
    for (case, number, ref), examination in zip(places, examinations, strict=True):
        stem = case.id if len(case.images) == 1 else f"{case.id}/{number}"
        image = build.adopt(ref, source.path)
        found = findings_of(examination, image, _store(build, examination.labels), stem, case.id, expert.card.id)
        findings += found
        counts.update(f"status_{finding.status}" for finding in found)
    build.commit(unit, findings, counts)


def _store(build: DatasetBuild, labels: NDArray[np.uint8] | None) -> str | None:
    if labels is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return build.add_image(buffer.getvalue()).path


def findings_of(
    examination: Examination, image: ImageRef, mask: str | None, stem: str, case_id: str, expert: str
) -> list[Finding]:
    """The findings of one image: one for each measurement, presence, and concept that could not be assessed.

    Args:
        examination: what the expert said.
        image: the image, already in the folder.
        mask: path of the label image in the folder.
        stem: start of the ids.
        case_id: the image's case.
        expert: name@version.
    """

    def finding(concept: str, **said: Any) -> Finding:
        label = examination.label_of.get(concept)
        region = Region(boxes=(), mask=mask, label=label) if mask is not None and label is not None else None
        return Finding(
            id=f"{stem}/{concept}", image=image, concept=concept, region=region, expert=expert, case_id=case_id,
            **said,
        )  # fmt: skip

    measured = [
        finding(
            concept,
            status=status_of(m),
            value=m.value,
            unit=m.unit,
            probability=m.probability,
            std=m.std,
        )
        for concept, m in examination.measurements.items()
    ]
    seen = [
        finding(concept, status=status_of_presence(p), probability=p.probability, extra=_spread(p))
        for concept, p in examination.presences.items()
    ]
    rest = [
        finding(concept, status="not_assessed", extra={"why": why})
        for concept, why in examination.not_assessed.items()
    ]
    return measured + seen + rest


def _spread(presence: Presence) -> dict[str, float]:
    """What a finding has no field for: `std` there is that of a value, and a presence has none."""
    extra = {"probability_std": presence.std} if presence.std else {}
    return extra if presence.threshold is None else {**extra, "threshold": presence.threshold}


def status_of(measured: Measured) -> Status:
    """Present, absent, or uncertain where P(count >= 1) lies between 0.2 and 0.8; by value without one.

    Example:
        >>> [status_of(Measured(1.0, 0.1, p)) for p in (0.1, 0.5, 0.9)] + [status_of(Measured(0.0, 0.1))]
        ['absent', 'uncertain', 'present', 'absent']
    """
    if measured.probability is None:
        return "present" if measured.value > 0 else "absent"
    return _status(measured.probability)


def status_of_presence(presence: Presence) -> Status:
    """Present or absent by the side of the threshold; uncertain where the members' spread reaches across it.

    With threshold t, probability p and standard deviation s > 0 the side is P = Phi((p - t) / s) sure, and the
    status is uncertain for 0.2 < P < 0.8. Without a threshold P is p itself. A side that the probability itself
    speaks against (beyond t, yet p <= 0.2; below t, yet p >= 0.8) is uncertain too: a low threshold finds
    suspects, and does not make them likely.

    Example:
        >>> [status_of_presence(Presence(0.35, s, 0.3)) for s in (0.0, 0.04, 0.2)]
        ['present', 'present', 'uncertain']
        >>> [status_of_presence(Presence(p, 0.0, 0.05)) for p in (0.04, 0.06, 0.3)]
        ['absent', 'uncertain', 'present']
    """
    if presence.threshold is None:
        return _status(presence.probability)
    if presence.std == 0:
        status: Status = "present" if presence.probability >= presence.threshold else "absent"
    else:
        status = _status(NormalDist().cdf((presence.probability - presence.threshold) / presence.std))
    against = {"present": presence.probability <= CERTAIN[0], "absent": presence.probability >= CERTAIN[1]}
    return "uncertain" if against.get(status, False) else status


def _status(probability: float) -> Status:
    if CERTAIN[0] < probability < CERTAIN[1]:
        return "uncertain"
    return "present" if probability >= CERTAIN[1] else "absent"
