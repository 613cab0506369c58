"""The way of critiques by the command line: written by logic, learnt, written by the model, scored, and gated."""

import json

import yaml

from vlmalign.records import Preference, read_manifest, read_records


def test_from_pairs_to_the_gate(vlmalign, refused, cases, tiny, tmp_path):
    build = ("build", "role-swapped", "--cases", cases, "--out", "pairs", "--logic", "peripheral_smear")
    assert vlmalign(*build, "--n-items", 2).code == 0
    build = ("build", "critiques", "--pairs", "pairs", "--cases", cases, "--out", "critiques")
    assert vlmalign(*build, "--logic", "peripheral_smear", "--concepts", "leukocyte").code == 0
    records = read_records(tmp_path / "critiques", Preference)
    assert len(records) == 4 and all("Claim: " in record.chosen_critique for record in records)

    shared = {"model": str(tiny), "data": ["critiques"], "max_steps": 1, "batch_size": 4, "device": "cpu"}
    for stage in ("critique", "reward"):
        recipe = {"stage": stage, "about": "a test", "config": {**shared, "out": stage}}
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump(recipe))
        result = vlmalign(stage, f"{stage}.yaml")
        assert (result.code, result.out.strip()) == (0, f"wrote {stage}"), result.err

    own = ("build", "own-critiques", "--run", "critique", "--pairs", "pairs", "--max-new-tokens", 4)
    assert vlmalign(*own, "--out", "own").code == 0  # a model that has learnt nothing comes to no end
    assert read_manifest(tmp_path / "own").counts["records_left_out"] == len(records)

    for out, reward, *settings in (
        ("after-own", "critique", "run=critique", "max_new_tokens=4"),
        ("after-given", "critique", "run=critique", "given=critiques"),
        ("without", "scalar", "run=reward"),
    ):
        given = [part for setting in settings for part in ("--set", setting)]
        assert vlmalign("score", reward, *given, "--pairs", "critiques", "--out", out).code == 0
    gate = ("evaluate", "critique-gate", "--pairs", "critiques", "--plain", "without", "--cases", cases)
    result = vlmalign(*gate, "--own", "after-own", "--given", "after-given", "--json", "gate.json")
    assert result.code == 0, result.err
    assert "Undecided whether critiques help" in result.out
    found = json.loads((tmp_path / "gate.json").read_text())
    assert found["verdict"] == "undecided" and found["own"]["unscored"]["mean"] == 1.0
    assert found["agreement"]["missing"] == 2 * len(records)
    assert found["given_upper_bound"]["accuracy"]["n"] == len(records)
    refused(*gate, "--own", "after-given", says=["own is judged by critique@", "after its own critiques"])
    refused("score", "scalar", "--set", "run=critique", "--pairs", "pairs", "--out", "x",
            says=["holds a critique reward model, expected a scalar one"])  # fmt: skip
