"""DICOM files as cases: pixels, and a short list of values from the header; no identifier leaves the reader.

Only what `dicom_header` lists is taken, each value checked against what it can be. Patient, study and picture ids
become keyed pseudonyms, ages become bands. Names of files that were skipped are written beside the key, not into
the dataset folder, as they may hold names of people. Pictures that say that names are written into them are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_builders.sources.age_band import age_band
from data_builders.sources.case_writing import CaseDraft, OnBad, Picture, Unread, Unreadable, write_cases
from data_builders.sources.chest_labels import DOMAIN as CHEST
from data_builders.sources.chest_labels import frontal_first, technique
from data_builders.sources.clinical_names import check_domain
from data_builders.sources.contained import files_below, listing_hash
from data_builders.sources.dicom_header import Header, read_header
from data_builders.sources.dicom_pixels import frame_picture, pydicom_of
from data_builders.sources.grey_window import check_view, evenly
from data_builders.sources.options import check_shared, one_of
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from vlmalign.records import Attributes, DataError

VERSION = 1
NOT_LOOKED_AT = ("DICOMDIR",)  # the index of a medium, not a picture
NOTES = {
    "licence": "Not known to this reader: local_only until --set data_use says otherwise.",
    "patients": f"By PatientID (and its issuer); a file without one is grouped by its study. {NOTE}",
    "header": "Kept: modality, view, laterality, pixel spacing, sex, band of age, what is told of burned-in text. "
    "Nothing else of the header.",
    "burned_in": "extra.burned_in: what the files say of text in the pixels; `unknown` where they say nothing. "
    "Look at such pictures before they leave the house: this reader does not read pixels for names.",
    "spacing": "extra.spacing_of: `patient`, or `detector` (not corrected for magnification), or `film`.",
}


def build_dicom(
    data: str | Path,
    out: str | Path,
    *,
    domain: str,
    per: str = "image",
    frames: int | list[int] = 1,
    max_images: int = 8,
    window: list[float] | None = None,
    burned_in: str = "refuse",
    data_use: str = "local_only",
    key_file: Path | None = None,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """DICOM files, windowed to 8 bits; no name or other identifier leaves the reader (extra `dicom`).

    Args:
        data: a folder; every file below it is read, but for DICOMDIR.
        out: the dataset folder.
        domain: of the cases.
        per: what a case is: "image" (a file), "series" or "study".
        frames: of a multi-frame file: so many, evenly spaced (1 is the middle one), or a list of numbers from 0.
        max_images: of a series or study; of more, so many evenly spaced by instance number are shown.
        window: [centre, width] in rescaled units (Hounsfield), in place of the files' own.
        burned_in: "refuse" pictures that say, or are of a kind that likely has, text or a face in their pixels;
            "flag" keeps them, named in `extra`.
        data_use: where the data may be sent.
        key_file: secret of the pseudonyms, outside of `out`; see `patient_key`.
        limit: only the first so many cases.
        on_bad: "skip" leaves out files that cannot be read or are refused, named beside the key and counted.
        overwrite: replace a folder built with other settings.

    Raises:
        DataError: a file cannot be read, needs a codec that is not installed, or is refused; no file.
        ValueError: a setting out of range.
        ImportError: pydicom is not installed.
    """
    check_shared(limit=limit, on_bad=on_bad, data_use=data_use)
    check_domain(domain)
    one_of("per", per, ("image", "series", "study"))
    one_of("burned_in", burned_in, ("refuse", "flag"))
    check_view("frames", frames, window)
    if max_images < 1:
        raise ValueError(f"max_images is {max_images}: at least 1 is required")
    pydicom_of()
    root = Path(data)
    files = [path for path in files_below(root) if path.name.upper() not in NOT_LOOKED_AT]
    if not files:
        raise DataError("the folder holds no file", "Check --data.", file=root)
    config = {
        "source": f"dicom@{VERSION}",
        "files_sha256": listing_hash(root, files),
        "files": len(files),
        "per": per,
        "frames": frames,
        "max_images": max_images,
        "window": window,
        "burned_in": burned_in,
        "limit": limit,
        "domain": domain,
        "prompts": prompt_bank(domain),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    reader = _Reader(root, key, domain, per, frames, max_images, window, burned_in)
    return write_cases(
        out,
        reader.drafts(files, limit),
        domain=domain,
        config={**config, "key": key.fingerprint},
        notes=NOTES,
        data_use=data_use,
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


class _Reader:
    """Headers to drafts."""

    def __init__(
        self,
        root: Path,
        key: PatientKey,
        domain: str,
        per: str,
        frames: int | list[int],
        max_images: int,
        window: list[float] | None,
        burned_in: str,
    ) -> None:
        self.root, self.key, self.domain, self.per = root, key, domain, per
        self.frames, self.max_images, self.burned_in = frames, max_images, burned_in
        self.window = (window[0], window[1]) if window else None

    def drafts(self, files: list[Path], limit: int | None) -> Iterator[CaseDraft | Unread]:
        """What cannot be read first, in the order of the files; then the cases by their first files."""
        cases: dict[str, list[Header]] = {}
        seen: set[str] = set()
        for path in files:
            try:
                header = self._header(path, seen)
            except DataError as error:
                yield Unread(f"dicom-file-{self._name(path)}", error)
                continue
            seen.add(header.instance)
            whole = {"image": "", "series": header.series, "study": header.study}[self.per]
            cases.setdefault(whole or header.instance, []).append(header)
        for number, (name, headers) in enumerate(cases.items()):
            if number == limit:
                return
            yield self._draft(name, headers)

    def _name(self, path: Path) -> str:
        return self.key.pseudonym("file", path.relative_to(self.root).as_posix())

    def _header(self, path: Path, seen: set[str]) -> Header:
        header = read_header(path)
        if header.instance in seen:
            raise Unreadable.because("duplicate", "another file holds the same instance", "Keep one.", file=path)
        if self.burned_in == "refuse":
            if header.burned_in in ("yes", "likely"):
                word = "says that" if header.burned_in == "yes" else "is of a kind in which often"
                raise Unreadable.because(
                    "burned_in_annotation",
                    f"the file {word} text is burned into the pixels, which may be a name",
                    "Look at it and clean it, or keep such files: --set burned_in=flag.",
                    file=path,
                )
            if header.recognizable:
                raise Unreadable.because(
                    "recognizable_features",
                    "the file says that its pixels show recognizable features, such as a face",
                    "Clean it, or keep such files: --set burned_in=flag.",
                    file=path,
                )
        return header

    def _draft(self, name: str, headers: list[Header]) -> CaseDraft:
        ordered = sorted(headers, key=lambda header: (header.number, header.instance))
        if len({header.view for header in ordered}) > 1:
            ordered = [ordered[k] for k in frontal_first([header.view or "" for header in ordered])]
        shown = [ordered[k] for k in evenly(len(ordered), self.max_images)]
        pictures = [(header, frame) for header in shown for frame in evenly(header.frames, self.frames)]
        first = shown[0]
        patient = first.patient or first.study
        group = self.key.pseudonym("patient" if first.patient else "study", patient or first.instance)
        chest = self.domain == CHEST and first.modality == "xray"
        return CaseDraft(
            id=f"dicom-{self.key.pseudonym('case', name)}",
            pictures=tuple(self._picture(header, frame) for header, frame in pictures),
            group_id=group,
            group_kind="patient" if first.patient else "study" if first.study else "image",
            known=technique(first.years, first.view) if chest else (),
            attributes=Attributes(sex=first.sex, age_band=age_band(first.years)),
            extra={
                "views": [header.view for header, _ in pictures],
                "burned_in": [header.burned_in for header, _ in pictures],
                "spacing_of": [header.spacing_of for header, _ in pictures],
            },
            counts={
                "without_patient_id": int(not first.patient),
                "burned_in_unknown": sum(header.burned_in == "unknown" for header in shown),
                "burned_in_flagged": sum(header.burned_in in ("yes", "likely") for header in shown),
                "images_left_out": len(ordered) - len(shown),
            },
        )

    def _picture(self, header: Header, frame: int) -> Picture:
        fields = {
            "modality": header.modality,
            "laterality": header.laterality,
            "frame": frame if header.frames > 1 else None,
            "spacing_mm": header.spacing,
        }
        return Picture(header.file, fields, partial(frame_picture, header.file, frame, self.window))
