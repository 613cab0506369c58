"""`vlmalign build corruptions | broken-steps | rewrites | curriculum`, and who may grade whom."""

import pytest
import yaml

from data_builders import build_demonstrations
from vlmalign.clinical import load_logic
from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Demonstration,
    Preference,
    RecordFolder,
    Sampling,
    read_manifest,
    read_records,
)

SMEAR = ("--logic", "peripheral_smear")


@pytest.fixture
def demonstrations(cases, tmp_path):
    return build_demonstrations(
        cases, tmp_path / "demos", logic=load_logic("peripheral_smear"), findings="reference", kinds=["report"]
    )


def test_corruptions_are_built_with_shares_of_kinds(vlmalign, demonstrations, tmp_path):
    result = vlmalign(
        "build", "corruptions", "--texts", demonstrations, *SMEAR, "--out", tmp_path / "out",
        "--set", "corruption.per_text=1", "--set", "corruption.shares.drop=1",
    )  # fmt: skip
    assert result.code == 0 and "made:drop 6" in result.out
    assert {p.provenance["corruption"]["kind"] for p in read_records(tmp_path / "out", Preference)} == {"drop"}


def test_broken_steps_are_built_from_reference_findings(vlmalign, cases, tmp_path):
    result = vlmalign("build", "broken-steps", "--cases", cases, *SMEAR, "--out", tmp_path / "out")
    assert result.code == 0 and "conversations 6" in result.out


def test_rewrites_are_verified(vlmalign, demonstrations, tmp_path):
    with DatasetBuild(tmp_path / "written", "candidate", {}) as build:
        for record in RecordFolder(demonstrations, Demonstration):
            build.commit(record.id, [Candidate(
                id=record.id, case_id=record.case_id, messages=record.response, policy="w@1", seed=0,
                sampling=Sampling(max_new_tokens=9),
            )])  # fmt: skip
    result = vlmalign(
        "build", "rewrites", "--demonstrations", demonstrations, "--rewrites", tmp_path / "written", *SMEAR,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 0 and "verified 6" in result.out
    assert (tmp_path / "out" / "refused.jsonl").read_text() == ""


def test_a_curriculum_is_built_from_a_recipe_and_names_unknown_settings(vlmalign, refused, cases, tmp_path):
    part = {"name": "reports", "logic": {"logic": "peripheral_smear", "cases": str(cases), "kinds": ["report"]}}
    recipe = {"stage": "curriculum", "config": {"out": str(tmp_path / "out"), "parts": [part]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    result = vlmalign("build", "curriculum", tmp_path / "mine.yaml")
    assert result.code == 0 and "part-1-reports: 6 records" in result.out
    refused("build", "curriculum", tmp_path / "mine.yaml", "--set", "sede=1", says="Did you mean 'seed'?")
    refused("build", "curriculum", "smear-sft", says="a recipe of stage 'sft'")


def test_the_experts_of_a_policys_training_data_do_not_grade_it(
    vlmalign, refused, cases, demonstrations, tmp_path
):
    folder = RecordFolder(cases, Case)
    with DatasetBuild(tmp_path / "answers", "candidate", {"cases": folder.sha256}) as build:
        for record in RecordFolder(demonstrations, Demonstration):
            build.commit(record.id, [Candidate(
                id=record.id, case_id=record.case_id, group_id=record.group_id, messages=record.response,
                policy="p@1", seed=0, sampling=Sampling(max_new_tokens=9),
            )])  # fmt: skip
    run = ("evaluate", "answers", tmp_path / "answers", "--cases", cases)
    (expert,) = {f.expert for case in folder for f in case.reference.findings}
    taught = ("--learnt-from", demonstrations)
    refused(*run, *taught, says=f"expert {expert} decided 6 of the training records")
    refused(*run, "--allow-self-grading", expert, says="--learnt-from is not")
    assert vlmalign(*run, *taught, "--allow-self-grading", expert).code == 0
    assert read_manifest(demonstrations).counts["records"] == 6
