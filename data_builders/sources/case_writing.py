"""From what a source knows of its files to a Case folder: one loop for all sources that read files.

A source checks its tables, then hands over drafts in order. Pictures are decoded when their case is written. What
cannot be read stops the build (`on_bad="refuse"`) or leaves its whole case out, named in `skipped.jsonl` and
counted (`on_bad="skip"`): a report speaks of all pictures of its study, so a study is not kept with one picture
less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from data_builders.sources.patient_key import PatientKey
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import report_request
from vlmalign.records import (
    Attributes,
    Case,
    DataError,
    DatasetBuild,
    Finding,
    ImageRef,
    Message,
    Reference,
    Region,
    load_image,
)
from vlmalign.records.case import Split
from vlmalign.records.finding import Status

OnBad = Literal["refuse", "skip"]
DEEP_MODES = ("I", "F")
SKIPPED_COUNT = "skipped"
KEPT_AS_THEY_ARE = (".png", ".jpg", ".jpeg")
HINT = "Or leave such files out and count them: --on-bad skip (on_bad='skip')."


class Unreadable(DataError):
    """A file that a source cannot use; `kind` is one word for the reason, with nothing of its content."""

    kind = "unreadable"

    @classmethod
    def because(cls, kind: str, rule: str, remedy: str, *, file: str | Path) -> Unreadable:
        """An error of this kind."""
        error = cls(rule, remedy, file=file)
        error.kind = kind
        return error


@dataclass(frozen=True)
class Picture:
    """One picture of a case: its file, fields of `ImageRef`, and how to read it where it is not a plain picture.

    Of a picture that is not `clean` (not of a published, de-identified set) only the pixels are stored: its file
    may hold names in its comments.
    """

    file: Path
    fields: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[], Image.Image] | None = None
    clean: bool = True
    size: tuple[int, int] | None = None  # width and height that the annotation says


@dataclass(frozen=True)
class Known:
    """One finding of the reference, before its picture is stored."""

    concept: str
    status: Status
    expert: str
    value: float | str | None = None
    unit: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask: Picture | None = None  # greyscale; everything above 0 is the structure
    picture: int = 0


@dataclass(frozen=True)
class CaseDraft:
    """A case before its pictures are stored."""

    id: str
    pictures: tuple[Picture, ...]
    group_id: str
    group_kind: str
    known: tuple[Known, ...] = ()
    text: str | None = None
    split: Split = "unassigned"
    attributes: Attributes = Attributes()
    messages: tuple[Message, ...] | None = None  # None: the domain's report request
    extra: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Unread:
    """An item of which not even a draft could be made."""

    id: str
    error: DataError


def write_cases(
    out: str | Path,
    drafts: Iterable[CaseDraft | Unread],
    *,
    domain: str,
    config: Mapping[str, Any],
    notes: Mapping[str, str],
    data_use: str,
    on_bad: OnBad,
    overwrite: bool,
    key: PatientKey | None = None,
    root: Path | None = None,
    total: int | None = None,
) -> Path:
    """Write the drafts as cases, in order; a killed build continues and ends with the same bytes.

    In a shard of a build (`vlmalign.records.shards`) only the drafts of its part are written. A build that fails
    before its first case leaves nothing behind.

    Args:
        out: the dataset folder.
        drafts: made lazily, the same at every start.
        domain: of every case.
        config: all that decides the content.
        notes: for the manifest.
        data_use: where the data may be sent.
        on_bad: what to do with what cannot be read.
        overwrite: replace a folder of other settings.
        key: of sources whose file names may hold identifiers: `skipped.jsonl` then gives a pseudonym of the name
            and one word for the reason, and the file beside the key gives name and reason in full.
        root: the data folder; names of skipped files are told relative to it.
        total: how many drafts there are, where that is known; else a shard makes all drafts to count them.

    Raises:
        DataError: something cannot be read and `on_bad` is "refuse"; the folder holds something else.
    """
    with DatasetBuild(out, "case", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if build.finished:
            _refuse_skipped(build, on_bad)
            return build.path
        try:
            _write_each(build, _of_shard(build, drafts, total), domain, on_bad, key, root)
        except BaseException:
            build.leave_nothing()
            raise
        _keep(key)  # also of a folder without cases
    return build.path


def _write_each(
    build: DatasetBuild,
    drafts: Iterable[CaseDraft | Unread],
    domain: str,
    on_bad: OnBad,
    key: PatientKey | None,
    root: Path | None,
) -> None:
    for draft in drafts:
        if build.has(draft.id):
            continue
        try:
            if isinstance(draft, Unread):
                raise draft.error
            case = _case(build, draft, domain)
        except DataError as error:
            if on_bad == "refuse":
                raise _with_hint(error) from None
            entry = {"case": draft.id, **_told(error, key, root)}
            counts = {SKIPPED_COUNT: 1, f"{SKIPPED_COUNT}_{getattr(error, 'kind', Unreadable.kind)}": 1}
            build.commit(draft.id, [], counts, skipped=[entry])
        else:
            _keep(key)
            build.commit(draft.id, [case], Counter({**draft.counts, **_open_findings(case)}))


def _of_shard(
    build: DatasetBuild, drafts: Iterable[CaseDraft | Unread], total: int | None
) -> Iterable[CaseDraft | Unread]:
    """All drafts, or those of this shard; to divide them their number must be known."""
    if build.shard is None:
        return drafts
    if total is None:
        drafts = list(drafts)
        total = len(drafts)
    mine = build.part(total)
    return islice(drafts, mine.start, mine.stop)


def _keep(key: PatientKey | None) -> None:
    """Before anything is written that was made with it."""
    if key is not None:
        key.keep()


def _refuse_skipped(build: DatasetBuild, on_bad: OnBad) -> None:
    """`on_bad` is no part of a config, so a build that was refused can go on by skipping; not so the reverse."""
    left_out = {name: build.counts[name] for name in (SKIPPED_COUNT, "bad_boxes") if build.counts[name]}
    if on_bad == "refuse" and left_out:
        told = " and ".join(f"{name} {number}" for name, number in left_out.items())
        raise DataError(
            f"the folder is complete and was built by leaving things out ({told})",
            "Repair the data and pass --overwrite, or accept it: --on-bad skip.",
            file=build.path,
        )


def refuse_divided_groups(splits: Iterable[tuple[str, str]], file: Path) -> None:
    """Refuse a table in which one group stands in two splits.

    Args:
        splits: (group, split) of every case.
        file: the table.

    Raises:
        DataError: a group has two splits; its name is not told.

    Example:
        >>> splits = [("a", "train"), ("b", "test"), ("a", "test")]
        >>> refuse_divided_groups(splits, Path("split.csv"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: split.csv: 1 patient or group stands in two splits...
    """
    seen: dict[str, set[str]] = {}
    for group, split in splits:
        seen.setdefault(group, set()).add(split)
    divided = sum(len(of) > 1 for of in seen.values())
    if divided:
        raise DataError(
            f"{divided} patient{'s' * (divided != 1)} or group{'s' * (divided != 1)} "
            f"stand{'s' * (divided == 1)} in two splits",
            "Correct the table, or leave its splits out (--set split=none) and divide by group: "
            "vlmalign source split.",
            file=file,
        )


def _case(build: DatasetBuild, draft: CaseDraft, domain: str) -> Case:
    opened = [_opened(picture) for picture in draft.pictures]
    masks = {}
    for number, known in enumerate(draft.known):
        if known.mask is not None:
            masks[number] = _mask(known.mask, opened[known.picture])
    images = tuple(_stored(build, picture, image) for picture, image in zip(draft.pictures, opened, strict=True))
    findings = tuple(
        _finding(build, draft.id, known, images, masks.get(number)) for number, known in enumerate(draft.known)
    )
    reference = Reference(text=draft.text, findings=findings) if draft.text or findings else None
    return Case(
        id=draft.id,
        images=images,
        messages=draft.messages or report_request(domain, draft.id, len(images)),
        reference=reference,
        domain=domain,
        split=draft.split,
        group_id=draft.group_id,
        group_kind=draft.group_kind,
        attributes=draft.attributes,
        extra=dict(draft.extra),
    )


def _opened(picture: Picture) -> Image.Image:
    if picture.read is not None:
        return picture.read()
    image = load_image(picture.file)
    if picture.size not in (None, image.size):
        raise Unreadable.because(
            "size",
            f"the picture has {image.width} x {image.height} pixels, its annotation says another size",
            "Fetch both again.",
            file=picture.file,
        )
    with Image.open(picture.file) as header:
        if header.mode.startswith(DEEP_MODES):  # their conversion to 8 bits clips, and shows a white picture
            raise Unreadable.because(
                "depth",
                f"the picture has more than 8 bits per channel (mode {header.mode})",
                "Convert it to 8 bits with a window that suits it.",
                file=picture.file,
            )
    return image


def _stored(build: DatasetBuild, picture: Picture, image: Image.Image) -> ImageRef:
    plain = picture.clean and picture.read is None and picture.file.suffix.lower() in KEPT_AS_THEY_ARE
    return build.add_image(picture.file if plain else png_bytes(image), **picture.fields)


def _mask(mask: Picture, image: Image.Image) -> Image.Image:
    """The mask as a label image of 0 and 1."""
    opened = _opened(mask).convert("L")
    if opened.size != image.size:
        raise Unreadable.because(
            "mask_size",
            f"the mask has {opened.width} x {opened.height} pixels, its picture {image.width} x {image.height}",
            "Fetch both again.",
            file=mask.file,
        )
    return opened.point(lambda value: int(value > 0))


def _finding(
    build: DatasetBuild, case_id: str, known: Known, images: tuple[ImageRef, ...], mask: Image.Image | None
) -> Finding:
    region = Region(boxes=known.boxes) if known.boxes else None
    if mask is not None:
        region = Region(mask=build.add_image(png_bytes(mask)).path, label=1)
    return Finding(
        id=f"{case_id}/{known.concept}/{known.expert}",
        image=images[known.picture],
        concept=known.concept,
        status=known.status,
        value=known.value,
        unit=known.unit,
        region=region,
        expert=known.expert,
        case_id=case_id,
    )


def _open_findings(case: Case) -> Counter[str]:
    findings = case.reference.findings if case.reference else ()
    return Counter(f"{f.status}_findings" for f in findings if f.status in ("uncertain", "not_assessed"))


def _told(error: DataError, key: PatientKey | None, root: Path | None) -> dict[str, str]:
    kind = getattr(error, "kind", Unreadable.kind)
    file = (error.file or "").removeprefix(f"{root}/")
    if key is None:
        return {"file": file, "kind": kind, "reason": error.rule.replace(f"{root}/", "")}
    return {"file": key.note_name(file, error.rule), "kind": kind}


def _with_hint(error: DataError) -> DataError:
    return DataError(error.rule, f"{error.remedy} {HINT}", file=error.file, line=error.line, field=error.field)
