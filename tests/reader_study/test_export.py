import csv
import io
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from vlmalign.reader_study import export_study, read_key, read_public
from vlmalign.reader_study.pictures import plain_png
from vlmalign.reader_study.redcap import DICTIONARY
from vlmalign.records import DataError

TELLING = (b"zebra", b"quagga", b"okapi", b"step-12", b"patient", b"case-", b"mueller", b"private", b"secret")


def everything(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_no_byte_and_no_name_of_the_export_tells_an_arm_a_case_or_a_patient(design, tmp_path):
    study = design(arms=("sft_zebra", "dpo_quagga", "human_okapi"), criteria=("correctness",), mark_errors=True)
    for inline in (False, True):
        out = tmp_path / f"out{inline}"
        export_study(study, out, formats=("form", "csv", "redcap"), inline=inline)
        for name, content in everything(out).items():
            for word in TELLING:
                assert word not in content.lower() and word.decode() not in name.lower(), (name, word)
        assert {os.stat(p).st_mtime for p in out.rglob("*")} == {946684800}


def test_images_are_written_anew_without_metadata_and_keep_their_pixels(design, inputs, tmp_path):
    out = tmp_path / "out"
    export_study(design(), out)
    shown = [Image.open(p) for p in (out / "reader-anna" / "images").iterdir()]
    assert len(shown) == 6 and all(not image.info for image in shown)
    original = Image.open(inputs / "0.png")
    assert original.info and any(image.tobytes() == original.tobytes() for image in shown)


def test_a_candidate_cannot_end_the_script_or_run_and_the_policy_allows_one_script(design, tmp_path):
    out = tmp_path / "out"
    export_study(design(), out)
    page = (out / "reader-anna" / "index.html").read_text()
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert "<img src=x" not in page and "\u2028" not in page
    policy = re.search('Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    data = json.loads(re.search('id="data">(.*?)</script>', page, re.S)[1])
    assert any("<script>document.title='run'" in "".join(t) for r in data["readings"] for t in r["texts"])


def test_the_redcap_project_has_18_columns_unique_names_escaped_labels_and_fitting_records(design, tmp_path):
    study = design(criteria=("correctness",), mark_errors=True, preference=5, arms=("sft_zebra", "human_okapi"))
    export_study(study, tmp_path / "out", formats=("redcap",))
    rows = list(csv.reader(io.StringIO((tmp_path / "out/redcap/dictionary.csv").read_text(), newline="")))
    assert tuple(rows[0]) == DICTIONARY and len(DICTIONARY) == 18 and {len(r) for r in rows} == {18}
    names = [r[0] for r in rows[1:]]
    assert names[0] == "record_id" and len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)
    assert {r[3] for r in rows[1:]} <= {"text", "notes", "radio"}
    records = list(csv.DictReader(io.StringIO((tmp_path / "out/redcap/records.csv").read_text(), newline="")))
    assert set(records[0]) <= set(names)
    assert len(records) == sum(len(form.readings) for form in read_public(study).forms)


def test_a_cell_that_looks_like_a_formula_is_defused_in_the_table(design, tmp_path):
    study = design(instructions="x")
    public = study / "public" / "study.json"
    public.write_text(public.read_text().replace("Describe the film.", "=cmd()"))
    export_study(study, tmp_path / "out", formats=("csv",))
    table = (tmp_path / "out/reader-anna/study.csv").read_text("utf-8-sig")
    assert ',"\'=cmd()",' in table and '"=cmd()' not in table


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "＝"])
@pytest.mark.parametrize("behind", ["", ";", "Clear;  ", "\t", "Clear.\n", "Clear.\r\n"])
def test_no_spreadsheet_reads_a_formula_however_it_parts_cells(mark, behind):
    import re

    from vlmalign.reader_study.redcap import plain_table
    from vlmalign.reader_study.study import PublicStudy, Questions, ReaderForm, Reading

    asked = Questions(texts=1, preference=0, criteria=("correctness",), mark_errors=False, comment=True)
    reading = Reading(id="r1", images=(), prompt="Describe.", texts=((f"{behind}{mark}HYPERLINK(A1)",),))
    form = ReaderForm(reader="anna", readings=(reading,))
    study = PublicStudy(
        study="s1", title="t", instructions="", questions=asked, washout_days=0, forms=(form,), key_sha256="0"
    )
    table = plain_table(study, form, ["study", "reader", "version", "reading", "position", "session", "kind"])
    cells = re.split(r'[,;\t\r\n]|"', table.removeprefix("\ufeff"))
    assert not [cell for cell in cells if cell.strip()[:1] in set("=+-@＝")]
    assert f"{mark}HYPERLINK(A1)" in table


def test_the_export_refuses_the_study_folder_other_folders_and_unknown_readers(design, tmp_path):
    study = design()
    with pytest.raises(ValueError, match="with the key"):
        export_study(study, study / "public" / "out")
    with pytest.raises(ValueError, match="reader 'zoe' is not in the study: it has anna, ben"):
        export_study(study, tmp_path / "out", readers=["zoe"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds no exported study"):
        export_study(study, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_picture_of_sixteen_bits_is_refused_and_not_shown_white(tmp_path):
    Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        plain_png(tmp_path / "deep.png", 100)


def test_answers_that_were_saved_into_the_folder_are_not_lost_with_it(design, tmp_path):
    study, out = design(), tmp_path / "out"
    export_study(study, out)
    saved = out / "reader-anna" / "s1-anna.json"
    saved.write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="put there by somebody, e.g. reader-anna/s1-anna.json"):
            export_study(study, out, formats=("form", "redcap"), overwrite=overwrite)
    assert saved.read_text() == "{}"
    saved.unlink()
    export_study(study, out, formats=("form", "redcap"))
    (study / "answers.json").write_text("{}")
    with pytest.raises(DataError, match="e.g. answers.json"):
        design(n_cases=3, overwrite=True)
    assert (study / "answers.json").exists() and read_key(study).counts["cases"] == 6


def test_a_damaged_exif_is_an_error_that_names_the_picture(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "x.png", exif=b"MM1*\0\0\0\x08")
    with pytest.raises(DataError, match="x.png.*its EXIF, which says what is up, is damaged"):
        plain_png(tmp_path / "x.png", 64)
