"""DICOM files made here: pixels by hand, and a header full of names that must not leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_builders.sources.dicom import build_dicom
from data_builders.sources.grey_window import windowed
from vlmalign.records import Case, DataError, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid  # noqa: E402

SECRETS = (
    "QUUX", "JANE", "MRN-4711", "19500213", "19990101", "Main Street", "Dr. Who", "ACC-99", "St. Elsewhere",
    "private note", "2.25.4242", "Smith",
)  # fmt: skip
STORED = np.array([[0, 100, 200], [300, 400, 500]], dtype=np.uint16)


def write(path: Path, pixels: np.ndarray = STORED, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> Path:
    """A radiograph with identifiers in many places, a private tag among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    frames = pixels.ndim == 3 and pixels.shape[-1] != 3
    defaults: dict[str, Any] = {
        "SOPInstanceUID": f"2.25.4242.{generate_uid()[-9:].lstrip('0.')}", "StudyInstanceUID": "2.25.4242.1",
        "SeriesInstanceUID": "2.25.4242.2", "PatientName": "QUUX^JANE", "PatientID": "MRN-4711",
        "PatientBirthDate": "19500213", "StudyDate": "19990101", "PatientSex": "F", "PatientAddress": "12 Main "
        "Street",
        "ReferringPhysicianName": "Dr. Who", "AccessionNumber": "ACC-99", "InstitutionName": "St. Elsewhere",
        "PatientComments": "private note", "StudyDescription": "for Smith", "Modality": "DX", "ViewPosition": "PA",
        "BurnedInAnnotation": "NO", "PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1,
        "Rows": pixels.shape[1] if frames else pixels.shape[0],
        "Columns": pixels.shape[2] if frames else pixels.shape[1],
        "BitsAllocated": pixels.dtype.itemsize * 8, "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1, "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2), "InstanceNumber": 1,
    }  # fmt: skip
    if frames:
        defaults["NumberOfFrames"] = pixels.shape[0]
    for name, value in {**defaults, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    block = dataset.private_block(0x0011, "QUUX private", create=True)
    block.add_new(1, "LO", "JANE")
    dataset.save_as(path, enforce_file_format=True)
    return path


Shown = Callable[..., np.ndarray]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """The pixels of the one picture that a file becomes."""

    def build(pixels: np.ndarray = STORED, settings: dict[str, Any] | None = None, **tags: Any) -> np.ndarray:
        write(tmp_path / "data/a.dcm", pixels, **tags)
        folder = RecordFolder(
            build_dicom(
                tmp_path / "data", tmp_path / "out", domain="chest_xray", overwrite=True, **(settings or {})
            ),
            Case,
        )
        (case,) = folder
        return np.asarray(folder.image(case.images[0])).astype(int)

    return build


def test_without_a_window_the_whole_range_is_shown(shown: Shown) -> None:
    assert shown().tolist() == [[0, 51, 102], [153, 204, 255]]


def test_a_window_is_applied_after_the_rescale(shown: Shown) -> None:
    grey = shown(WindowCenter=-800, WindowWidth=201, RescaleSlope=1, RescaleIntercept=-1000)
    assert grey.tolist() == [[0, 1, 128], [255, 255, 255]]  # black to -900.5: -900 is 0.0025 of the window


def test_the_first_of_several_windows_counts_and_a_given_one_counts_more(shown: Shown) -> None:
    linear = {"VOILUTFunction": "LINEAR_EXACT"}
    assert shown(WindowCenter=[250, 0], WindowWidth=[500, 1], **linear).tolist() == [[0, 51, 102], [153, 204, 255]]
    assert shown(settings={"window": [250, 2]}, WindowCenter=0, WindowWidth=1).tolist() == [
        [0, 0, 0],
        [255, 255, 255],
    ]


def test_monochrome1_is_inverted_and_padding_is_black_in_both(shown: Shown) -> None:
    assert shown(PhotometricInterpretation="MONOCHROME1").tolist() == [[255, 204, 153], [102, 51, 0]]
    padded = shown(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    assert padded.tolist() == [[0, 255, 191], [127, 64, 0]]


@pytest.mark.parametrize("word", ["u1", "<u2"])  # of one byte each in packed files
def test_a_voi_lut_is_looked_up_and_held_at_its_ends(shown: Shown, word: str) -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 1, 8]
    item.LUTData = np.array([10, 20, 30, 255], dtype=word).tobytes()
    grey = shown(np.arange(6, dtype=np.uint16).reshape(2, 3), VOILUTSequence=[item])
    assert grey.tolist() == [[10, 10, 20], [30, 255, 255]]


def test_signed_pixels_of_a_ct_are_windowed_in_hounsfield(shown: Shown) -> None:
    hounsfield = np.array([[-1000, -160], [40, 240]], dtype=np.int16)
    assert shown(hounsfield, Modality="CT", settings={"window": [40, 400]}).tolist() == [[0, 0], [128, 255]]


def test_colour_is_kept(shown: Shown) -> None:
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[..., 0] = 200
    grey = shown(red, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0, Modality="OP")
    assert grey.shape == (2, 2, 3) and grey[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(("frames", "numbers"), [(1, [2]), (2, [1, 3]), ([0, 4, 9], [0, 4])])
def test_frames_are_chosen_and_numbered(tmp_path: Path, frames: Any, numbers: list[int]) -> None:
    stack = np.stack([np.full((2, 2), 10 * k, dtype=np.uint8) for k in range(5)])
    write(tmp_path / "data/a.dcm", stack, Modality="OPT", WindowCenter=20, WindowWidth=40, ImageLaterality="L")
    folder = RecordFolder(build_dicom(tmp_path / "data", tmp_path / "out", domain="amd_oct", frames=frames), Case)
    (case,) = folder
    assert [image.frame for image in case.images] == numbers
    assert {(image.modality, image.laterality) for image in case.images} == {("oct", "left")}
    expected = windowed(np.array([[10.0 * numbers[0]]]), 20, 40)[0, 0]
    assert np.asarray(folder.image(case.images[0]))[0, 0] == expected


def test_no_name_no_number_and_no_date_of_a_header_leaves_the_reader(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "QUUX_JANE/good.dcm")
    write(data / "QUUX_JANE/burned.dcm", BurnedInAnnotation="YES")
    (data / "MRN-4711.dcm").write_bytes(b"QUUX^JANE, no dicom at all")
    out = build_dicom(data, tmp_path / "out", domain="chest_xray", on_bad="skip")
    assert len(read_records(out, Case)) == 1 and read_manifest(out).counts["skipped"] == 2
    for file in out.rglob("*"):
        if file.is_file():
            text = file.name.encode() + file.read_bytes()
            assert not [secret for secret in SECRETS if secret.lower().encode() in text.lower()], file
    names = (tmp_path / "out.key.names.jsonl").read_text()
    assert "QUUX_JANE/burned.dcm" in names and "MRN-4711.dcm" in names and "no dicom at all" not in names


def test_errors_quote_no_header(tmp_path: Path) -> None:
    write(tmp_path / "data/a.dcm", PhotometricInterpretation="QUUX JANE")
    with pytest.raises(DataError) as caught:
        build_dicom(tmp_path / "data", tmp_path / "out", domain="x")
    assert "QUUX" not in str(caught.value)


def test_what_is_kept_of_a_patient_is_sex_and_band(tmp_path: Path) -> None:
    write(tmp_path / "data/a.dcm")
    write(
        tmp_path / "data/b.dcm", PatientAge="007M", PatientSex="X", ViewPosition="QUUX", StudyInstanceUID="2.25.7"
    )
    first, second = read_records(build_dicom(tmp_path / "data", tmp_path / "out", domain="chest_xray"), Case)
    assert (first.attributes.sex, first.attributes.age_band) == ("female", "40-59")  # born 13 Feb: still 48
    assert (second.attributes.sex, second.attributes.age_band) == (None, "child")
    assert first.group_id == second.group_id and first.group_kind == "patient"
    answers = {f.concept: f.value for f in first.reference.findings}
    assert answers == {"age_group": "adult", "projection": "pa"} and second.extra["views"] == [None]


def test_a_study_shows_its_views_frontal_first_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    write(tmp_path / "data/a.dcm", ViewPosition="LL", InstanceNumber=1)
    write(tmp_path / "data/b.dcm", ViewPosition="PA", InstanceNumber=2, PixelSpacing=[0.2, 0.1])
    out = build_dicom(tmp_path / "data", tmp_path / "out", domain="chest_xray", per="study")
    (case,) = read_records(out, Case)
    assert case.extra["views"] == ["PA", "LL"] and case.images[0].spacing_mm == (0.2, 0.1)
    assert case.extra["spacing_of"] == ["patient", None] and validate_folder(out) == []
    few = build_dicom(tmp_path / "data", tmp_path / "few", domain="chest_xray", per="study", max_images=1)
    assert read_manifest(few).counts["images_left_out"] == 1


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned_in_annotation"),
        ({"BurnedInAnnotation": None, "Modality": "US"}, "burned_in_annotation"),
        ({"RecognizableVisualFeatures": "YES"}, "recognizable_features"),
    ],
)
def test_pictures_that_may_show_a_name_are_refused_or_flagged(tmp_path: Path, tags: dict, kind: str) -> None:
    write(tmp_path / "data/a.dcm", **tags)
    out = build_dicom(tmp_path / "data", tmp_path / "out", domain="chest_xray", on_bad="skip")
    assert read_manifest(out).counts[f"skipped_{kind}"] == 1
    kept = build_dicom(tmp_path / "data", tmp_path / "kept", domain="chest_xray", burned_in="flag")
    assert len(read_records(kept, Case)) == 1


def test_a_file_that_says_nothing_of_burned_in_text_is_kept_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "data/a.dcm", BurnedInAnnotation=None)
    out = build_dicom(tmp_path / "data", tmp_path / "out", domain="chest_xray")
    assert read_manifest(out).counts["burned_in_unknown"] == 1
    assert read_records(out, Case)[0].extra["burned_in"] == ["unknown"]


def test_a_missing_codec_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_builders.sources import dicom_pixels

    monkeypatch.setattr(dicom_pixels, "_decodable", lambda syntax: False)
    path = write(tmp_path / "data/a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    with pytest.raises(
        DataError, match=r"JPEG-LS Lossless.*no codec for that is installed.*pip install pylibjpeg"
    ):
        build_dicom(tmp_path / "data", tmp_path / "out", domain="x")


def test_a_killed_build_of_dicom_files_ends_with_the_same_bytes(
    tmp_path: Path, killed: Any, bytes_of: Any
) -> None:
    (tmp_path / "key").write_text("k" * 32)
    for k in range(3):
        write(tmp_path / f"data/{k}.dcm", STORED + k, BurnedInAnnotation="YES" if k == 1 else "NO")
    given = {"domain": "chest_xray", "on_bad": "skip", "key_file": tmp_path / "key"}
    whole = build_dicom(tmp_path / "data", tmp_path / "whole", **given)
    killed(lambda: build_dicom(tmp_path / "data", tmp_path / "cut", **given), 2)
    assert bytes_of(whole) == bytes_of(build_dicom(tmp_path / "data", tmp_path / "cut", **given))


def test_compressed_pixels_with_a_codec_are_those_that_were_compressed(shown: Shown, tmp_path: Path) -> None:
    plain = shown(WindowCenter=250, WindowWidth=500)
    dataset = pydicom.dcmread(tmp_path / "data/a.dcm")
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "data/a.dcm")
    folder = RecordFolder(build_dicom(tmp_path / "data", tmp_path / "rle", domain="x"), Case)
    assert np.array_equal(np.asarray(folder.image(next(iter(folder)).images[0])), plain)


def test_cut_pixels_no_pixels_and_a_second_copy_are_each_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = write(data / "a.dcm")
    (data / "b.dcm").write_bytes(first.read_bytes())
    write(data / "c.dcm", Rows=None)
    write(data / "d.dcm", PixelData=b"\0\0")
    counts = read_manifest(build_dicom(data, tmp_path / "out", domain="x", on_bad="skip")).counts
    told = {name.removeprefix("skipped_") for name in counts if name.startswith("skipped_")}
    assert told == {"duplicate", "no_pixels", "undecodable"} and counts["records"] == 1


def test_a_file_without_patient_id_is_grouped_by_its_study(tmp_path: Path) -> None:
    write(tmp_path / "data/a.dcm", PatientID=None)
    write(tmp_path / "data/b.dcm", PatientID="")
    first, second = read_records(build_dicom(tmp_path / "data", tmp_path / "out", domain="x"), Case)
    assert first.group_kind == "study" and first.group_id == second.group_id


@pytest.mark.parametrize("setting", [{"frames": 0}, {"window": [1.0]}, {"per": "patient"}, {"burned_in": "hide"}])
def test_settings_out_of_range_are_refused_before_anything_is_read(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_dicom(tmp_path / "nowhere", tmp_path / "out", domain="x", **setting)


def test_an_enhanced_file_takes_each_frames_own_rescale_and_the_shared_spacing(tmp_path: Path) -> None:
    def item(**tags: Any) -> Dataset:
        made = Dataset()
        for name, value in tags.items():
            setattr(made, name, value)
        return made

    rescales = [item(RescaleSlope=1, RescaleIntercept=k, RescaleType="US") for k in (0, 100)]
    write(
        tmp_path / "data/a.dcm", np.full((2, 2, 2), 100, dtype=np.uint16), Modality="MR",
        SharedFunctionalGroupsSequence=[item(PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25])])],
        PerFrameFunctionalGroupsSequence=[item(PixelValueTransformationSequence=[each]) for each in rescales],
    )  # fmt: skip
    settings = {"frames": [0, 1], "window": [150.5, 101.0]}
    folder = RecordFolder(build_dicom(tmp_path / "data", tmp_path / "out", domain="x", **settings), Case)
    (case,) = folder
    assert [int(np.asarray(folder.image(image))[0, 0]) for image in case.images] == [0, 255]
    assert case.images[0].spacing_mm == (0.5, 0.25)
