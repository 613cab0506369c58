"""`vlmalign data`, `source`, `experts list` and `recipes`: what they print and write."""

import json

import pytest
from PIL import Image

from data_builders.sources.registry import BUILT_IN
from vlmalign.records import Case, read_records


def test_validate_says_that_a_folder_is_sound_and_counts_it(vlmalign, cases):
    result = vlmalign("data", "validate", cases)
    assert result.code == 0
    assert "sound (case; images 12, records 6)" in result.out


def test_validate_prints_a_problem_per_line_and_exits_with_one(vlmalign, tmp_path):
    result = vlmalign("data", "validate", tmp_path / "none")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        f"{tmp_path}/none: no such folder. Check the path.",
        f"1 problem in {tmp_path}/none",
    ]


def test_stats_are_json_on_standard_output(vlmalign, demos):
    stats = json.loads(vlmalign("data", "stats", demos).out)
    assert (stats["kind"], stats["counts"]["records"], stats["groups"]) == ("demonstration", 12, 3)


def test_leakage_of_a_folder_into_itself_is_refused(refused, vlmalign, cases):
    refused(
        "data", "leakage", "--train", cases, "--test", cases, says="3 groups are in training and in evaluation"
    )


def test_a_parquet_file_for_trl_never_replaces_another_file(refused, tmp_path, cases):
    (tmp_path / "thesis.docx").write_text("years of work")
    refused("data", "export-trl", cases, tmp_path / "thesis.docx", says="Delete it or name another file")
    assert (tmp_path / "thesis.docx").read_text() == "years of work"


def test_source_build_and_split_write_case_folders(vlmalign, tmp_path):
    assert (
        vlmalign("source", "build", "smear", "--out", "all", "--set", "n_groups=4", "--set", "size=32").code == 0
    )
    result = vlmalign("source", "split", "all", "roles", "--role", "train=0.5", "--role", "test=0.5")
    told = [f"wrote roles/{name}\n8 records: groups 2, images {n}\n" for name, n in (("train", 16), ("test", 8))]
    assert (result.code, result.out) == (0, "".join(told))
    groups = [{c.group_id for c in read_records(tmp_path / "roles" / r, Case)} for r in ("train", "test")]
    assert [len(part) for part in groups] == [2, 2] and not groups[0] & groups[1]


def test_a_build_tells_its_counts_and_the_same_command_that_nothing_was_done(vlmalign):
    source = ("source", "build", "smear", "--out", "all", "--set", "n_groups=2", "--set", "size=32")
    first, second = vlmalign(*source), vlmalign(*source)
    assert first.out.startswith("wrote all\n8 records: images ")
    assert second.out == "all was complete already: nothing was done\n" + first.out.partition("\n")[2]
    build = ("build", "prompts", "--cases", "all", "--max-cases", "1", "--out", "prompts")
    assert vlmalign(*build).out.startswith("wrote prompts\n1 record: images 1")
    assert vlmalign(*build).out.startswith("prompts was complete already: nothing was done\n")
    assert vlmalign(*build, "--overwrite").out.startswith("wrote prompts\n")


def test_a_build_without_any_record_says_why_on_standard_error(vlmalign):
    vlmalign("source", "build", "smear", "--out", "all", "--set", "n_groups=2", "--set", "size=32")
    vlmalign("build", "prompts", "--cases", "all", "--out", "prompts")
    logic = ("--logic", "peripheral_smear", "--out")
    result = vlmalign("build", "demonstrations", "--cases", "prompts", *logic, "none")
    assert (result.code, result.out) == (0, "wrote none\n")
    assert result.err == "warning: 0 records: cases 8, cases_without_report 8\n"
    result = vlmalign(
        "build", "demonstrations", "--cases", "all", "--logic", "amd_oct", "--out", "o", "--from-reference"
    )
    assert result.err.endswith("(the cases are of peripheral_smear, the logic is amd_oct)\n")


def test_a_split_by_a_finding_that_no_case_has_is_refused(refused, cases, tmp_path):
    roles = ["--role", "train=0.67", "--role", "test=0.33"]
    refused("data", "split", cases, "r", *roles, "--stratify", "finding.nope", says="no case has a value of")
    assert not (tmp_path / "r").exists()


def test_the_roles_of_a_split_are_in_its_help(vlmalign, monkeypatch):
    from data_builders.split import ROLES

    monkeypatch.setenv("COLUMNS", "200")
    assert ", ".join(ROLES) in " ".join(vlmalign("source", "split", "--help").out.split())


def test_sources_are_listed_with_what_they_are(vlmalign):
    lines = vlmalign("source", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(BUILT_IN)
    assert all(len(line.split()) > 4 for line in lines)


def test_a_source_shows_what_it_reads_and_its_settings(vlmalign):
    out = vlmalign("source", "show", "mimic_cxr").out
    assert 'priors: "previous" shows the frontal picture' in out and "data_use: 'approved_endpoints'" in out
    assert vlmalign("source", "show", "mimik").code == 2


def test_a_table_with_pictures_is_built_by_its_columns_and_a_bad_picture_is_named(vlmalign, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("L", (8, 8)).save(data / "a.png")
    (data / "b.png").write_bytes(b"broken")
    (data / "t.csv").write_text("path,who,sign\na.png,Jane,1\nb.png,John,0\n")
    build = ["source", "build", "table", "--data", data, "--out", "cases"]
    for setting in ("table=t.csv", "domain=chest_xray", "image=path", "group=who", "findings.pneumonia=sign"):
        build += ["--set", setting]
    refused = vlmalign(*build)
    assert refused.code == 2 and "b.png: the image cannot be decoded" in " ".join(refused.err.split())
    assert vlmalign(*build, "--on-bad", "skip").out.startswith("wrote cases\n1 record: images 1, skipped 1")
    (case,) = read_records(tmp_path / "cases", Case)
    assert case.reference.findings[0].status == "present" and case.group_kind == "patient"
    assert vlmalign("source", "build", "table", "--data", data, "--out", "x", "--set", "tabel=t.csv").code != 0


def test_pictures_whose_patients_are_not_named_are_warned_of(vlmalign, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for k in range(2):
        Image.new("L", (8, 8), k).save(data / f"{k}.png")
    (data / "t.csv").write_text("path,who,sign\n0.png,Jane,1\n1.png,Jane,0\n")
    build = ["source", "build", "table", "--data", data, "--out", "cases"]
    for setting in ("table=t.csv", "domain=chest_xray", "image=path", "findings.pneumonia=sign"):
        build += ["--set", setting]
    forgotten = vlmalign(*build)
    assert (
        forgotten.code == 0 and "the patients are not known" in forgotten.err and "--set group=" in forgotten.err
    )
    named = vlmalign(*build, "--set", "group=who", "--overwrite")
    assert (named.code, named.err) == (0, "")
    assert "cases.key, beside it, is the secret of the pseudonyms" in named.out


def test_the_example_that_a_source_shows_names_all_that_it_requires(vlmalign):
    for name, words in {
        "table": ("--set table=", "--set group="),
        "smear": ("--set n_groups=20",),
        "openi": (),
    }.items():
        (line,) = [line for line in vlmalign("source", "show", name).out.splitlines() if "For example" in line]
        assert all(word in line for word in (f"vlmalign source build {name} ", "--out cases", *words)), line


def test_what_is_no_dataset_folder_is_refused_with_those_that_lie_in_it(vlmalign, refused, cases, tmp_path):
    roles = ["--role", "train=0.67", "--role", "test=0.33"]
    refused("data", "stats", tmp_path, says="manifest.json is missing. Name a folder of records that a vlmalign")
    vlmalign("data", "split", cases, "roles", *roles)
    refused("data", "stats", "roles", says="Name one of the dataset folders in it: test, train.")


def test_experts_are_listed_with_their_origin(vlmalign, tmp_path):
    assert "segmentation     built in: counts and areas of structures" in vlmalign("experts", "list").out
    assert "segmentation" in vlmalign("experts", "list", tmp_path).out


def test_recipes_are_listed_with_stage_and_purpose(vlmalign):
    lines = vlmalign("recipes", "list").out.splitlines()
    (dpo,) = [line for line in lines if line.startswith("smear-dpo ")]
    assert "direct preference optimisation" in dpo.lower()


def test_a_copied_recipe_is_the_shipped_one_and_never_replaces_a_file(vlmalign, refused, tmp_path):
    from vlmalign.recipes import read_recipe

    assert "vlmalign recipes run mine.yaml" in vlmalign("recipes", "copy", "smear-dpo", "mine.yaml").out
    assert (tmp_path / "mine.yaml").read_text() == read_recipe("smear-dpo")
    (tmp_path / "mine.yaml").write_text("changed")
    refused("recipes", "copy", "smear-dpo", "mine.yaml", says="mine.yaml exists. Delete it or name another file")
    assert (tmp_path / "mine.yaml").read_text() == "changed"
    refused("recipes", "copy", "smear-dpo", "no/such/folder.yaml", says="no such folder. Make it first")


def test_a_folder_or_a_misspelt_name_in_the_place_of_a_recipe_is_told_what_is_meant(refused, tmp_path):
    (tmp_path / "pairs").mkdir()
    refused("dpo", "pairs", says=["pairs is a folder, expected a recipe", "--set data=[FOLDER]"])
    refused("recipes", "copy", "smear-dop", says="Did you mean 'smear-dpo'?")


def test_a_recipe_runs_with_variables_and_settings(vlmalign, tmp_path):
    sizes = ["--set", "options.n_groups=1", "--set", "options.fields_per_group=1", "--set", "options.size=32"]
    result = vlmalign("recipes", "run", "smear-source", "--var", "root=mine", *sizes)
    assert result.code == 0, result.err
    (written,) = tmp_path.glob("mine/*/manifest.json")
    assert result.out == f"wrote mine/{written.parent.name}\n1 record: images 2\n"
    assert json.loads(written.read_text())["counts"]["records"] == 1


@pytest.mark.parametrize("name", ["smear-sft-data", "smear-dpo", "smear-candidates"])
def test_a_recipe_that_names_a_folder_that_is_not_there_says_which(refused, name):
    refused("recipes", "run", name, "--var", "root=nowhere", says=["nowhere/", "no such folder"])
