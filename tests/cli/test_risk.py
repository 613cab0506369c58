"""`vlmalign risk` on plain fields whose brightness tells whether a leukocyte is there."""

import json

import pytest
from PIL import Image

from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Finding,
    Judgement,
    Reference,
    Sampling,
    assistant,
    read_records,
    user,
)

SAYS = {True: "A leukocyte is present.", False: "No leukocyte is seen."}


def finding(i, image, value, expert):
    return Finding(
        id=f"{expert}/{i}", image=image, concept="leukocyte", status="present", value=value, expert=expert,
        probability=0.95,
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    """20 cases; the policy errs in every fifth, the expert in every seventh, the reader never."""
    with (
        DatasetBuild(tmp_path / "cases", "case", {}) as cases,
        DatasetBuild(tmp_path / "answers", "candidate", {}) as answers,
        DatasetBuild(tmp_path / "findings", "finding", {}) as findings,
    ):
        for i in range(20):
            there = i % 2 == 1
            image = cases.add_image(Image.new("RGB", (32, 32), ((40 if there else 200) + i, 90, 90)))
            true = finding(i, image, "present" if there else "absent", "reader@1")
            cases.commit(str(i), [Case(
                id=f"c{i}", images=(image,), messages=(user("Describe the field.", images=1),), group_kind="slide",
                domain="peripheral_smear", group_id=f"g{i}", reference=Reference(findings=(true,)),
            )])  # fmt: skip
            texts = [SAYS[there != (i % 5 == 0)], SAYS[there], "Lovely weather."]
            answers.commit(str(i), [
                Candidate(id=f"c{i}/{n}", case_id=f"c{i}", group_id=f"g{i}", messages=(assistant(text),), seed=0,
                          policy="p@1", sampling=Sampling(max_new_tokens=9))
                for n, text in enumerate(texts)
            ])  # fmt: skip
            findings.add_image(cases.path / image.path)
            said = "present" if there != (i % 7 == 3) else "absent"
            findings.commit(str(i), [finding(i, image, said, "cells@1")])
    return ("--cases", "cases", "--candidates", "answers", "--findings", "findings", "--out", "judged")


def test_risk_finds_wrong_claims_and_its_judgements_are_used_like_those_of_any_reward(vlmalign, folders, tmp_path):
    done = vlmalign("risk", *folders, "--truth", "cases", "--json", "figures.json")
    assert done.code == 0, done.err
    assert "60 records: invalid 20" in done.out and "null: share of sources" in done.out
    written = json.loads((tmp_path / "figures.json").read_text())
    figures = written["concepts"]["leukocyte"]
    assert (figures["claims"], figures["wrong"]) == (40, 4)
    assert figures["risk"]["mean"] > 0.9 and figures["risk"]["low"] is not None
    judged = read_records(tmp_path / "judged", Judgement)
    assert {j.judge for j in judged} == {written["judge"]}
    scores = {j.candidate_ids[0]: j.score for j in judged}
    assert scores["c5/0"] < scores["c5/1"] and scores["c5/2"] is None
    best = vlmalign("best-of-n", "answers", "--judged", "judged", "--out", "best")
    assert best.code == 0, best.err
    gold = ("--set", "logic=peripheral_smear", "--cases", "cases", "--candidates", "answers", "--out", "gold")
    assert vlmalign("score", "symbolic", *gold).code == 0
    calibrated = vlmalign(
        "calibrate", "--judged", "judged", "--gold", "gold", "--cases", "cases", "--method", "platt",
        "--right-from", "0.5", "--out", "calibration.json",
    )  # fmt: skip
    assert calibrated.code == 0, calibrated.err


def test_a_complete_folder_is_left_and_one_of_other_settings_refused(
    vlmalign, refused, folders, contents_of, tmp_path
):
    assert vlmalign("risk", *folders).code == 0
    before = contents_of(tmp_path / "judged")
    assert "was complete already" in vlmalign("risk", *folders).out
    refused("risk", *folders, "--seed", 1, says="--overwrite")
    assert contents_of(tmp_path / "judged") == before
    assert vlmalign("risk", *folders, "--seed", 1, "--overwrite").code == 0
    assert contents_of(tmp_path / "judged") != before


def test_a_killed_command_continues_with_the_same_bytes(vlmalign, killed, folders, contents_of, tmp_path):
    killed(2, "risk", *folders)
    assert vlmalign("risk", *folders).code == 0
    again = (*folders[:-1], "again")
    assert vlmalign("risk", *again).code == 0
    assert contents_of(tmp_path / "judged") == contents_of(tmp_path / "again")


def test_the_word_of_a_source_is_not_taken_for_the_truth(vlmalign, refused, folders, tmp_path):
    with DatasetBuild(tmp_path / "own", "case", {}) as build:
        for case in read_records(tmp_path / "cases", Case):
            image = build.add_image(tmp_path / "cases" / case.images[0].path)
            known = Reference(findings=(finding(case.id, image, "present", "cells@1"),))
            build.commit(case.id, [case.model_copy(update={"reference": known})])
    refused("risk", *folders, "--truth", "own", says=["cells@1 decided 20", "--allow-self-grading cells@1"])
    assert not (tmp_path / "judged").exists()
    assert vlmalign("risk", *folders, "--truth", "own", "--allow-self-grading", "cells").code == 0
    refused("risk", *folders, "--json", "x.json", says="--json is given and --truth is not")
    refused("risk", *folders[:4], "--out", "none", says="there is no weak source")
