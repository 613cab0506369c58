"""`vlmalign reader-study` from cases and arms to records, by the command line alone."""

import json

import pytest
import yaml
from PIL import Image

from vlmalign.cli.stages import load_recipe
from vlmalign.models import build_tiny_llava, save_vlm
from vlmalign.reader_study import read_key
from vlmalign.recipes import read_recipe
from vlmalign.records import Candidate, Case, DatasetBuild, Preference, Sampling, assistant, read_records, user


@pytest.fixture
def arms(tmp_path):
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for i in range(3):
            ref = build.add_image(Image.new("L", (32, 32), 60 * i))
            build.commit(str(i), [Case(id=f"c{i}", images=(ref,), messages=(user("Describe.", images=1),),
                                       domain="d", group_id=f"g{i}", group_kind="patient")])  # fmt: skip
    for arm in ("before", "after"):
        with DatasetBuild(tmp_path / arm, "candidate", {"arm": arm}) as build:
            for i in range(3):
                text = "A nodule." if arm == "after" else "No nodule."
                build.commit(str(i), [
                    Candidate(id=f"{arm}/{i}", case_id=f"c{i}", messages=(assistant(text),), policy=arm,
                              sampling=Sampling(max_new_tokens=8), seed=0)
                ])  # fmt: skip


def answers_of(page):
    """What a reader saves who always prefers the nodule."""
    text = page.read_text().split('id="data">')[1].split("</script>")[0]
    data = json.loads(text)
    answers = [
        {"reading": r["id"], "preference": 1 if r["texts"][0] == ["A nodule."] else 3} for r in data["readings"]
    ]
    who = {name: data[name] for name in ("study", "reader", "version")}
    return {"format": "vlmalign-reader-answers@1", **who, "answers": answers}


def test_a_study_goes_from_design_to_preference_pairs(vlmalign, arms, tmp_path):
    given = ("--cases", "cases", "--arm", "one=before", "--arm", "two=after", "--purpose", "training")
    designed = vlmalign(
        "reader-study", "design", *given, "--reader", "anna", "--set", "guesses=0", "--out", "study"
    )
    assert designed.code == 0 and "3 cases" in designed.out and "SHA-256" in designed.out, designed
    exported = vlmalign(
        "reader-study", "export", "study", "--out", "out", "--format", "form", "--format", "redcap"
    )
    assert exported.code == 0 and "index.html" in exported.out, exported
    saved = tmp_path / "anna.json"
    saved.write_text(json.dumps(answers_of(tmp_path / "out/reader-anna/index.html")))
    imported = vlmalign("reader-study", "import", "study", "anna.json", "--out", "read")
    assert imported.code == 0 and "answered 3" in imported.out, imported
    pairs = read_records("read/preferences", Preference)
    assert [p.chosen[0].text for p in pairs] == ["A nodule."] * 3
    analysed = vlmalign("reader-study", "analyze", "study", "anna.json", "--out", "analysis")
    assert analysed.code == 0 and "two was preferred over one in 3 of 3 answers" in analysed.out, analysed
    assert "One reader answered" in analysed.err and "methods.md" in analysed.out
    train_on(vlmalign, tmp_path, "read/preferences")


def train_on(vlmalign, tmp_path, pairs):
    """One step of a reward and of DPO on a tiny model, from the readers' pairs as they are."""
    texts, small = ["Describe.", "A nodule.", "No nodule."], {"layers": 1, "vision_layers": 1, "heads": 2}
    vlm = build_tiny_llava(
        texts, image_size=32, patch_size=16, hidden=32, vision_hidden=32, vocab_size=300, **small
    )
    save_vlm(vlm, tmp_path / "tiny")
    for stage in ("reward", "dpo"):
        config = {"model": "tiny", "data": [pairs], "out": stage, "max_steps": 1, "batch_size": 2,
                  "learning_rate": 1e-3, "logging_steps": 1, "device": "cpu"}  # fmt: skip
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump({"stage": stage, "about": "x", "config": config}))
        trained = vlmalign(stage, f"{stage}.yaml")
        assert trained.code == 0, trained
        summary = json.loads((tmp_path / stage / "summary.json").read_text())
        assert summary["last"]["loss"] > 0


def test_a_recipe_designs_a_study_and_names_a_setting_that_it_does_not_know(vlmalign, arms, tmp_path):
    own = load_recipe(read_recipe("smear-reader-study"), {"root": "."}).config
    changed = {"cases": ["cases"], "arms": {"one": "before", "two": "after"}, "trained_on": [], "out": "study"}
    plan = {**own["plan"], "n_cases": 3, "repeats": 2, "kappa": False}
    for name, more in (("good", {}), ("bad", {"repeat": 3})):
        text = {"stage": "reader-study-design", "config": {**own, **changed, "plan": {**plan, **more}}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(text))
    bad = vlmalign("recipes", "run", "bad.yaml")
    assert bad.code == 2 and "'repeat'. Did you mean 'repeats'" in bad.err and not (tmp_path / "study").exists()
    assert vlmalign("recipes", "run", "good.yaml").code == 0
    key = read_key("study")
    assert key.plan.readers == ("reader_a", "reader_b", "reader_c") and key.arms == ("one", "two")
    assert sum(r.repeat for r in key.readings.values()) == 6


def test_the_size_of_a_study_is_told(vlmalign):
    told = vlmalign("reader-study", "size", "--half-width", "0.1", "--readers", "2")
    assert told.out == "63 cases, each read by 2 readers\n"


def test_bad_options_are_one_sentence(refused, arms):
    base = (
        "reader-study",
        "design",
        "--cases",
        "cases",
        "--reader",
        "anna",
        "--purpose",
        "training",
        "--out",
        "s",
    )
    refused(*base, "--arm", "one", says="expected NAME=FOLDER")
    refused(*base, "--arm", "one=before", says="there is one arm")
    refused(*base, "--arm", "a=before", "--arm", "b=after", "--kappa", says="kappa needs at least 30")
    refused("reader-study", "analyze", "cases", "cases", "--out", "x", says="no such file")
    refused("reader-study", "export", "cases", "--out", "x", says="no such file")
