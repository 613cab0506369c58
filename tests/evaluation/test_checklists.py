"""Reporting checklists: what no file and no human tells is a gap."""

import json

import pytest

from vlmalign.evaluation.checklists import (
    CHECKLISTS,
    checklist_html,
    checklist_markdown,
    fill_checklist,
    load_checklist,
    read_answers,
    read_evidence,
)
from vlmalign.evaluation.checklists.facts import Evidence
from vlmalign.evaluation.checklists.figure_facts import FACTS
from vlmalign.evaluation.checklists.page import told
from vlmalign.records import DataError

HOSTILE = "</td><script>alert(1)</script>"
SCORE = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "n_groups": 5, "excluded": 2, "method": "t, 4 df"}


def manifest(folder, kind="case", counts=None, notes=None, **config):
    folder.mkdir(parents=True)
    told = {"kind": kind, "config": config, "counts": counts or {"records": 4, "groups": 2}, "notes": notes or {},
            "records_sha256": "ab" * 32, "data_use": "local_only"}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(told))
    attributes = [{"sex": "f"}, {"sex": "m", "site": HOSTILE}, {}, {"sex": "f"}]
    (folder / "records.jsonl").write_text("".join(json.dumps({"attributes": a}) + "\n" for a in attributes))


@pytest.fixture
def study(tmp_path):
    """A study of which every file tells something."""
    root = tmp_path / "study"
    notes = {"grouping": "one group is one patient", "licence": "CC BY 4.0", "patients": "keyed pseudonyms"}
    manifest(root / "cases", source="scans@1", prompts=["Describe it."], notes=notes,
             counts={"records": 9, "dropped_unsure": 2})  # fmt: skip
    for role in ("train", "test"):
        manifest(root / "roles" / role, builder="split@1", role=role, seed=3)
    manifest(root / "answers", "candidate", policy="dpo@1", temperature=0.8, n=4, seed=1)
    manifest(root / "findings", "finding", expert="unet@1")
    run = root / "dpo"
    (run / "model").mkdir(parents=True)
    (run / "model" / "config.json").write_text(json.dumps({"architectures": ["Llava"]}))
    (run / "provenance.json").write_text(json.dumps({
        "data": {"/home/me/secret/pairs": "cd" * 32}, "model": "ef" * 32, "seed": 7, "versions": {"torch": "2"},
    }))  # fmt: skip
    (run / "summary.json").write_text(json.dumps({"flops": {"total": 1e12}, "trained_parameters": 5}))
    (run / "config.yaml").write_text("model: /home/me/secret/sft\nepochs: 2\neval_data: [x]\n")
    arms = {"dpo": {"omissions": SCORE, "unsupported_known": SCORE}}
    (root / "results.json").write_text(json.dumps({
        "arms": arms, "baselines": {"majority": {"omissions": SCORE}}, "seeds": [1, 2],
        "comparisons": {"dpo_minus_sft": {**SCORE, "conclusion": "benefit"}},
    }))  # fmt: skip
    (root / "compare.json").write_text(json.dumps({
        "subgroups": {"sex": {"f": {"figure": SCORE}}}, "reliability": {"a": {"ece": SCORE, "kept": SCORE}},
        "confusion": {"a": [{"n": 3}]}, "seen_minus_blanked": SCORE, "margin": 0.05, "p_holm": 0.1,
    }))  # fmt: skip
    (root / "transfer.json").write_text(json.dumps({"shared_groups": 0, "source": "other", "arms": arms}))
    readings = [{"id": "r1"}, {"id": "r2"}]
    (root / "public").mkdir()
    (root / "public" / "study.json").write_text(
        json.dumps({"forms": [{"readings": readings}], "key_sha256": "a" * 64})
    )
    return root


def states(root, name="mi-claim-gen", answers=None):
    checklist = load_checklist(name)
    return {found.item.number: found for found in fill_checklist(checklist, read_evidence([root]), answers).items}


@pytest.mark.parametrize(("name", "items", "sections"), [("mi-claim-gen", 21, 5), ("elevate-ai", 15, 10)])
def test_every_item_can_be_filled_and_every_fact_is_known(name, items, sections):
    checklist = load_checklist(name)
    assert (len(checklist.items), len(checklist.sections)) == (items, sections)
    assert {fact for item in checklist.items for fact in item.facts} <= set(FACTS)


def test_every_fact_is_asked_for_by_some_checklist():
    asked = {fact for name in CHECKLISTS for item in load_checklist(name).items for fact in item.facts}
    assert set(FACTS) == asked


def test_a_study_that_wrote_all_down_has_gaps_only_where_a_human_must_write(study):
    for name in CHECKLISTS:
        for number, found in states(study, name).items():
            assert not found.missing, (number, found.missing)
            alone = found.item.human
            expected = "gap" if alone and not found.item.facts else "partly" if alone else "filled"
            assert found.state == expected, number


@pytest.mark.parametrize(
    ("removed", "number", "before", "after"),
    [
        ("compare.json", "4b", "filled", "gap"),
        ("transfer.json", "4d", "partly", "gap"),
        ("public/study.json", "3b", "filled", "partly"),
        ("roles/test/manifest.json roles/train/manifest.json", "2a", "filled", "partly"),
        ("dpo/summary.json", "2b", "partly", "partly"),
    ],
)
def test_an_item_is_not_filled_any_more_where_its_file_is_taken_away(study, removed, number, before, after):
    full = states(study)[number]
    assert full.state == before
    for name in removed.split():
        (study / name).unlink()
    found = states(study)[number]
    assert found.state == after
    assert set(found.evidence) < set(full.evidence) and set(found.missing) > set(full.missing)


def test_a_run_without_its_own_files_tells_nothing_of_models(study):
    for name in ("provenance.json", "summary.json", "config.yaml"):
        (study / "dpo" / name).unlink()
    assert states(study)["2b"].state == "gap"


def test_evidence_names_its_file_and_no_folder_of_this_machine(study):
    filled = fill_checklist(load_checklist("mi-claim-gen"), read_evidence([study]))
    text = json.dumps(filled.to_dict()) + checklist_html(filled)
    assert "secret" not in text and str(study.parent) not in text
    (base,) = states(study)["2b"].evidence["base_model"]
    assert base == ("dpo starts from sft, weights efefefefefef", "study/dpo/provenance.json")
    (people,) = {each.value for each in states(study)["1d"].evidence["population"]}
    assert people.startswith("sex f 2, m 1, not told 1; site ")


@pytest.mark.parametrize(
    "score", [{**SCORE, "mean": None, "low": None, "high": None, "n": 0}, {**SCORE, "low": 0.9}]
)
def test_a_figure_of_which_nothing_was_scored_or_that_is_none_is_no_evidence(tmp_path, score):
    figures = {"subgroups": {"sex": {"f": {"figure": score}}}, "arms": {"dpo": {"f1": SCORE}}}
    (tmp_path / "r.json").write_text(json.dumps(figures))
    assert states(tmp_path / "r.json")["4b"].state == "gap"


def test_a_licence_that_is_not_known_is_no_licence(tmp_path):
    manifest(tmp_path / "cases", notes={"licence": "Not known to this reader: local_only."})
    assert states(tmp_path)["5c"].state == "gap"


def test_a_human_fills_gaps_and_alone_says_what_does_not_apply(study, tmp_path):
    (tmp_path / "a.yaml").write_text(f"1a: '{HOSTILE}'\n4d: {{not_applicable: no deployment}}\n")
    answers = read_answers(tmp_path / "a.yaml", load_checklist("mi-claim-gen"))
    filled = fill_checklist(load_checklist("mi-claim-gen"), read_evidence([study]), answers)
    assert filled.counts["not applicable"] == 1 and filled.counts["filled_by_human"] == 1
    assert sum(filled.counts[state] for state in ("filled", "partly", "gap", "not applicable")) == 21
    page, text = checklist_html(filled), checklist_markdown(filled)
    assert "<script>" not in page + text and "&lt;script>" in text
    assert "Does not apply:</b> no deployment" in page and "TO WRITE: The model card" in text
    rows = [line for line in text.splitlines() if line.startswith("| 1")]
    assert len(rows) == 5 and all(line.count(" | ") == 3 for line in rows)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1x: yes", "mi-claim-gen has no item '1x'. Known: 1a, 1b, "),
        ("1a: ''", "the answer is empty"),
        ("4d: {not_applicable: ''}", "the reason why it does not apply is empty"),
        ("4d: {skip: x}", "it is a mapping of skip"),
        ("- 1a", "it is no mapping"),
        ("1a: [", "it is no YAML"),
    ],
)
def test_answers_that_cannot_be_used_are_refused_by_number(tmp_path, text, reason):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match="a.yaml") as caught:
        read_answers(tmp_path / "a.yaml", load_checklist("mi-claim-gen"))
    assert reason in str(caught.value)


def test_damaged_missing_and_empty_places_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read_evidence([tmp_path / "x"])
    with pytest.raises(DataError, match="no manifest, training run or figures"):
        read_evidence([tmp_path])
    (tmp_path / "manifest.json").write_bytes(b"{\0")
    with pytest.raises(DataError, match="it cannot be read"):
        read_evidence([tmp_path])


def test_what_several_files_tell_alike_is_told_once():
    same = [Evidence("a patient", name) for name in "abc"]
    assert told([*same, Evidence("a slide", "d")]) == [("a patient", "a and 2 more"), ("a slide", "d")]


def test_a_folder_given_twice_counts_once(study):
    assert read_evidence([study, study / "dpo"]).names == read_evidence([study]).names
