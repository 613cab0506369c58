"""`vlmalign evaluate checklist`, over a real run."""

import json


def test_a_training_run_and_its_cases_fill_a_checklist(vlmalign, runs, cases, tmp_path):
    (tmp_path / "a.yaml").write_text("1b: Does it say true things?")
    result = vlmalign("evaluate", "checklist", "mi-claim-gen", runs["plain"], cases, "--out", "c.html",
                      "--answers", "a.yaml", "--json", "c.json")  # fmt: skip
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "c.json").read_text())
    assert "21 items: " in result.out and found["items"]["1b"]["state"] == "filled"
    told = found["items"]["2b"]["evidence"]
    assert told["base_model"][0]["file"] == "plain/provenance.json" and told["architecture"]
    assert found["items"]["4b"] == {
        "state": "gap", "evidence": {}, "missing": ["subgroups"], "human": None, "write": found["items"]["4b"][""
        "write"],
    }  # fmt: skip
    assert "Does it say true things?" in (tmp_path / "c.html").read_text()
    assert vlmalign("evaluate", "checklist", "elevate-ai", cases, "--out", "c.md").code == 0
    assert (tmp_path / "c.md").read_text().startswith("# ELEVATE-AI")


def test_bad_input_is_refused_before_anything_is_read(refused, cases, tmp_path):
    (tmp_path / "a.yaml").write_text("9z: x")
    refused("evaluate", "checklist", "mi-claim", cases, says="Did you mean 'mi-claim-gen'?")
    refused("evaluate", "checklist", "mi-claim-gen", "nowhere", "--out", "c.pdf", says="ends on .html or .md")
    refused("evaluate", "checklist", "mi-claim-gen", "nowhere", "--answers", "a.yaml", says="no item '9z'")
    refused("evaluate", "checklist", "mi-claim-gen", "nowhere", says="no such file or folder")
