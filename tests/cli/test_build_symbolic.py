"""`vlmalign build corruptions | broken-steps | rewrites | curriculum`, and who may grade whom."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


@pytest.fixture
def writer():
    """A server on loopback that answers every request with one question and its answer."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            text = "Q: Is a leukocyte seen?\nA: No, no leukocyte is seen in the field."
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "m-1", "choices": [choice]}
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    running.asked = asked
    yield running
    running.shutdown()
    running.server_close()


def test_a_model_behind_an_endpoint_writes_and_nothing_is_asked_twice(
    vlmalign, refused, writer, demonstrations, tmp_path
):
    settings = {
        "writer.model.model": "m", "writer.model.base_url": f"http://127.0.0.1:{writer.server_address[1]}/v1",
        "writer.cache": str(tmp_path / "cache"),
    }  # fmt: skip
    model = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    questions = ("build", "write-questions", "--texts", demonstrations, *SMEAR)
    result = vlmalign(*questions, "--out", tmp_path / "questions", *model)
    assert result.code == 0, result
    counts = read_manifest(tmp_path / "questions").counts
    assert counts["texts"] == counts["replies_answered"] == 6
    assert counts["kept"] + counts.get("says_otherwise", 0) == 6 and counts["kept"] == counts["records"] > 0
    asked = len(writer.asked)
    assert vlmalign(*questions, "--out", tmp_path / "again", *model).code == 0
    assert len(writer.asked) == asked  # the cache had every answer
    rewrites = ("build", "write-rewrites", "--demonstrations", demonstrations, "--out", tmp_path / "rewrites")
    assert vlmalign(*rewrites, *model).code == 0 and len(read_records(tmp_path / "rewrites", Candidate)) == 6
    refused(*rewrites, says="writer is not given")
    refused(*rewrites, *model, "--set", "writer.modle=m", says="Did you mean 'model'?")
