"""CheXpert, NIH ChestX-ray14 and MIMIC-CXR-JPG, from tiny trees in their layouts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from data_builders.sources.chest_labels import CHEXPERT_COLUMNS
from data_builders.sources.chexpert import build_chexpert
from data_builders.sources.mimic_cxr import build_mimic_cxr
from data_builders.sources.nih_cxr14 import build_nih_cxr14
from data_builders.sources.report_sections import of_earlier_study
from vlmalign.records import Case, DataError, read_manifest, read_records
from vlmalign.records.validation import validate_folder

LABELS = ",".join(CHEXPERT_COLUMNS)


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), shade).save(path)


def statuses(case: Case) -> dict[str, str]:
    return {f.concept: f.value or f.status for f in case.reference.findings}


@pytest.fixture
def chexpert(tmp_path: Path) -> Path:
    root = tmp_path / "chexpert"
    rows = {
        "train": [
            "train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,," + ",,1.0,0.0,-1.0" + "," * 9,
            "train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,PA," + ",,1.0,0.0,-1.0" + "," * 9,
            "train/patient00002/study1/view1_frontal.jpg,Male,9,Frontal,AP,1.0" + "," * 13,
        ],
        "valid": ["valid/patient64541/study1/view1_frontal.jpg,Male,90,Frontal,AP" + ",0.0" * 14],
    }
    for name, lines in rows.items():
        text = "\n".join(f"CheXpert-v1.0-small/{line}" for line in lines)
        (root / f"{name}.csv").parent.mkdir(exist_ok=True)
        (root / f"{name}.csv").write_text(f"Path,Sex,Age,Frontal/Lateral,AP/PA,{LABELS}\n{text}\n")
        for shade, line in enumerate(lines):
            picture(root / line.split(",")[0], shade + 90 * (name == "valid"))
    return root


def test_a_chexpert_study_keeps_its_views_together_and_a_blank_is_not_absent(
    chexpert: Path, tmp_path: Path
) -> None:
    out = build_chexpert(chexpert, tmp_path / "out")
    adult, child, checked = read_records(out, Case)
    assert validate_folder(out) == [] and adult.extra["views"] == ["PA", "LATERAL"] and len(adult.images) == 2
    found = statuses(adult)
    assert (found["cardiomegaly"], found["lung_opacity"], found["lung_lesion"]) == (
        "present",
        "absent",
        "uncertain",
    )
    assert (found["edema"], found["projection"], found["age_group"]) == ("not_assessed", "pa", "adult")
    assert (adult.attributes.sex, adult.attributes.age_band, adult.split) == ("female", "60-79", "train")
    assert statuses(child)["age_group"] == "child" and child.attributes.age_band == "child"
    assert checked.split == "validation" and checked.reference.findings[0].expert == "chexpert_radiologists@1"
    assert read_manifest(out).data_use == "local_only"
    assert read_manifest(out).counts["uncertain_findings"] == 1


def test_a_chexpert_path_out_of_the_folder_is_refused(chexpert: Path, tmp_path: Path) -> None:
    table = chexpert / "train.csv"
    table.write_text(table.read_text().replace("CheXpert-v1.0-small/train/patient00002", "../../patient00002"))
    with pytest.raises(DataError, match=r"train.csv:4, field 'Path'.*leaves the data folder"):
        build_chexpert(chexpert, tmp_path / "out")


def test_another_label_than_the_four_is_named_with_its_row(chexpert: Path, tmp_path: Path) -> None:
    table = chexpert / "train.csv"
    table.write_text(table.read_text().replace("AP,1.0", "AP,2.0"))
    with pytest.raises(DataError, match=r"train.csv:4, field 'No Finding': '2.0' is none of"):
        build_chexpert(chexpert, tmp_path / "out")


@pytest.fixture
def nih(tmp_path: Path) -> Path:
    root = tmp_path / "nih"
    for number, name in enumerate(("00000001_000", "00000001_001", "00000002_000")):
        picture(root / f"images_00{number % 2 + 1}/images/{name}.png", number * 50)
    (root / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position\n"
        "00000001_000.png,Infiltration|Hernia,0,1,058Y,M,PA\n"
        "00000001_001.png,No Finding,1,1,58,M,AP\n"
        "00000002_000.png,Cardiomegaly,0,2,411,F,PA\n"
    )
    (root / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    (root / "test_list.txt").write_text("00000002_000.png\n")
    return root


def test_an_unlisted_nih_label_is_absent_only_where_it_is_the_whole_concept(nih: Path, tmp_path: Path) -> None:
    first, second, third = read_records(build_nih_cxr14(nih, tmp_path / "out"), Case)
    assert [case.split for case in (first, second, third)] == ["train", "train", "test"]
    assert first.group_id == second.group_id != third.group_id
    found = statuses(first)
    assert found["lung_opacity"] == "present" and found["edema"] == "absent" and "lung_lesion" not in found
    assert first.extra["labels"] == ["Infiltration", "Hernia"] and "lung_opacity" not in statuses(second)
    assert third.attributes.age_band is None
    assert read_manifest(tmp_path / "out").counts["impossible_ages"] == 1


def test_a_patient_in_both_nih_lists_is_refused(nih: Path, tmp_path: Path) -> None:
    (nih / "train_val_list.txt").write_text("00000001_000.png\n")
    (nih / "test_list.txt").write_text("00000002_000.png\n00000001_001.png\n")
    with pytest.raises(DataError, match="stands in two splits"):
        build_nih_cxr14(nih, tmp_path / "out")
    (nih / "test_list.txt").write_text("00000002_000.png\n")
    with pytest.raises(DataError, match=r"csv:3, field 'Image Index'.*neither official list"):
        build_nih_cxr14(nih, tmp_path / "out")


REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough.

 FINDINGS:

 Heart size is normal.  The effusion is unchanged from ___.

 IMPRESSION:

 No pneumonia.
"""
DICOM = "{0:08x}-{0:08x}-{0:08x}-{0:08x}-{0:08x}"


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    """Two subjects; the first has a later study listed before its earlier one."""
    root = tmp_path / "mimic"
    rows = [  # dicom, study, subject, split, view, date
        (1, "50000002", "10000032", "train", "LATERAL", "21800601"),
        (2, "50000002", "10000032", "train", "PA", "21800601"),
        (3, "50000001", "10000032", "train", "AP", "21800506"),
        (4, "50000003", "10000764", "validate", "AP", "21320101"),
    ]
    split, metadata = (
        ["dicom_id,study_id,subject_id,split"],
        ["dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime"],
    )
    for number, study, subject, part, view, date in rows:
        dicom = DICOM.format(number)
        split.append(f"{dicom},{study},{subject},{part}")
        metadata.append(f"{dicom},{subject},{study},{view},{date},213014.531")
        folder = root / f"files/p{subject[:2]}/p{subject}/s{study}"
        picture(folder / f"{dicom}.jpg", number * 40)
        folder.with_suffix(".txt").write_text(REPORT)
    (root / "mimic-cxr-2.0.0-split.csv").write_text("\n".join(split) + "\n")
    (root / "mimic-cxr-2.0.0-metadata.csv").write_text("\n".join(metadata) + "\n")
    (root / "mimic-cxr-2.0.0-chexpert.csv").write_text(
        f"subject_id,study_id,{LABELS}\n10000032,50000002,{',' * 9}1.0{',' * 4}\n"
    )
    return root


def test_a_mimic_study_has_all_views_its_report_and_its_split(mimic: Path, tmp_path: Path) -> None:
    out = build_mimic_cxr(mimic, tmp_path / "out")
    later, earlier, other = read_records(out, Case)
    assert validate_folder(out) == [] and later.extra["views"] == ["PA", "LATERAL"]
    assert [case.split for case in (later, earlier, other)] == ["train", "train", "validation"]
    assert later.group_id == earlier.group_id != other.group_id
    assert later.reference.text == (
        "FINDINGS: Heart size is normal. The effusion is unchanged from ___.\nIMPRESSION: No pneumonia."
    )
    assert later.extra["prior_sentences"] == ["The effusion is unchanged from ___."]
    assert statuses(later)["pneumothorax"] == "present" and statuses(later)["pleural_effusion"] == "not_assessed"
    assert "cardiomegaly" not in statuses(earlier)
    assert read_manifest(out).data_use == "approved_endpoints"
    assert read_manifest(out).counts["deidentified_words"] == 3


def test_sentences_about_an_earlier_study_are_dropped_on_request(mimic: Path, tmp_path: Path) -> None:
    out = build_mimic_cxr(mimic, tmp_path / "out", comparisons="drop")
    case = read_records(out, Case)[0]
    assert case.reference.text == "FINDINGS: Heart size is normal.\nIMPRESSION: No pneumonia."
    assert read_manifest(out).counts["prior_sentences"] == 3


def test_the_previous_study_of_the_subject_is_shown_first_and_only_the_previous(
    mimic: Path, tmp_path: Path
) -> None:
    out = build_mimic_cxr(mimic, tmp_path / "out", priors="previous")
    later, earlier, other = read_records(out, Case)
    assert later.extra["prior_images"] == 1 and later.images[0] == earlier.images[0]
    assert later.messages[0].n_images == 3 and later.messages[0].content[1].text.startswith("The images above")
    assert {f.image for f in later.reference.findings} == {later.images[1]}
    assert earlier.extra["prior_images"] == other.extra["prior_images"] == 0
    assert read_manifest(out).counts["with_earlier_study"] == 1


def test_no_mimic_id_and_no_date_is_in_the_folder(mimic: Path, tmp_path: Path) -> None:
    (mimic / "files/p10/p10000764/s50000003.txt").unlink()
    out = build_mimic_cxr(mimic, tmp_path / "out", on_bad="skip")
    assert read_manifest(out).counts["skipped_report"] == 1
    # bounded: keyed hashes, and that of the commit, are hexadecimal and hold any four digits now and then
    secrets = rb"10000032|10000764|5000000|00000001-0000|(?<![0-9a-f])2180-?[0-9]{2}"
    for file in (file for file in out.rglob("*") if file.is_file()):
        assert not re.search(secrets, file.read_bytes()), file


def test_mimic_may_be_made_stricter_but_never_open(mimic: Path, tmp_path: Path) -> None:
    assert read_manifest(build_mimic_cxr(mimic, tmp_path / "a", data_use="local_only")).data_use == "local_only"
    with pytest.raises(ValueError, match="data_use is 'open'"):
        build_mimic_cxr(mimic, tmp_path / "b", data_use="open")


def test_a_mimic_id_that_would_lead_elsewhere_is_refused(mimic: Path, tmp_path: Path) -> None:
    table = mimic / "mimic-cxr-2.0.0-split.csv"
    table.write_text(table.read_text().replace("10000764", "../../x"))
    with pytest.raises(DataError, match=r"split.csv:5, field 'subject_id': not an id"):
        build_mimic_cxr(mimic, tmp_path / "out")


@pytest.mark.parametrize(
    ("sentence", "earlier"),
    [
        ("No interval change.", True),
        ("Compared to the prior study, edema has improved.", True),
        ("Small stable effusion.", True),
        ("Moderate cardiomegaly is again noted.", True),
        ("There is a small left pleural effusion.", False),
        ("The cardiomediastinal silhouette is normal.", False),
        ("Bony structures show degenerative change.", False),
        # sentences of the Open-i collection
        ("The cardiomediastinal silhouette is normal in size and stable from prior exam.", True),
        ("Interval removal of left-sided chest tube.", True),
        ("Calcified left perihilar granuloma redemonstrated.", True),
        ("Findings are grossly unchanged compared with prior chest CT from XXXX.", True),
        ("Prior granulomatous disease.", False),
        ("A dense nodule in the right base suggest a previous granulomatous process.", False),
        ("Sternotomy sutures and coronary bypass clips remain intact.", False),
        ("No comparison chest x-XXXX.", False),
        ("If there is no improvement consider XXXX for further evaluation.", False),
    ],
)
def test_comparisons_are_told_from_descriptions(sentence: str, earlier: bool) -> None:
    assert of_earlier_study(sentence) is earlier
