"""`vlmalign evaluate answers`: only candidates to the given cases are scored, and every one is accounted for."""

import json

import pytest

from data_builders.sources import build_smear
from data_builders.split import split_by_group
from vlmalign.records import Candidate, Case, DatasetBuild, RecordFolder, Sampling, assistant

ROLES = {"labelled": 0.34, "test": 0.66}


def answer(folder, out, config=None):
    """One report to each case; the manifest names the cases as `vlmalign generate` does."""
    opened = RecordFolder(folder, Case)
    config = {"cases": opened.sha256} if config is None else config
    with DatasetBuild(out, "candidate", config) as build:
        for case in opened:
            build.commit(case.id, [Candidate(
                id=f"{case.id}/report/0", case_id=case.id, group_id=case.group_id, policy="p@1", seed=0, tokens=5,
                messages=(assistant("No leukocyte is seen."),), sampling=Sampling(temperature=0, max_new_tokens=9),
            )])  # fmt: skip
    return out


@pytest.fixture
def split(cases, tmp_path):
    return split_by_group(cases, tmp_path / "roles", roles=ROLES, seed=0)


@pytest.fixture
def evaluated(vlmalign, tmp_path):
    def run(*arguments):
        result = vlmalign("evaluate", "answers", *arguments, "--json", tmp_path / "scores.json")
        assert result.code == 0, result
        found = json.loads((tmp_path / "scores.json").read_text())
        ((_, counts),) = found["counts"].items()
        return counts, result.out

    return run


def test_answers_to_the_given_cases_are_all_scored(evaluated, cases, tmp_path):
    counts, _ = evaluated(answer(cases, tmp_path / "a"), "--cases", cases)
    assert counts == {"candidates": 6, "scored": 6, "excluded_other_case": 0, "excluded_truth_unknown": 0}


def test_answers_to_all_cases_are_scored_on_a_split_of_them_and_the_others_are_counted(
    evaluated, cases, split, tmp_path
):
    counts, told = evaluated(answer(cases, tmp_path / "a"), "--cases", split["test"])
    assert counts == {"candidates": 6, "scored": 4, "excluded_other_case": 2, "excluded_truth_unknown": 0}
    assert "2 excluded other case" in told


def test_several_folders_of_cases_are_all_used(evaluated, cases, split, tmp_path):
    given = ("--cases", split["test"], "--cases", split["labelled"])
    counts, _ = evaluated(answer(cases, tmp_path / "a"), *given)
    assert counts["scored"] == 6


def test_a_case_given_twice_is_refused(refused, cases, split, tmp_path):
    given = ("--cases", cases, "--cases", split["test"])
    refused("evaluate", "answers", answer(cases, tmp_path / "a"), *given, says="more than one of the folders")


def test_answers_to_other_cases_are_refused_even_where_the_ids_are_the_same(refused, cases, tmp_path):
    build_smear(tmp_path / "larger", n_groups=3, fields_per_group=2, size=48)
    a = answer(tmp_path / "larger", tmp_path / "a")
    says = ["the candidates answer cases of hash", "was not split from them", "--answered"]
    refused("evaluate", "answers", a, "--cases", cases, says=says)
    refused("evaluate", "answers", a, "--cases", cases, "--answered", "larger", says="shows other pictures")
    refused("evaluate", "answers", a, "--cases", cases, "--answered", cases, says="Name with --answered")


def test_another_selection_of_the_same_pictures_is_taken_when_the_answered_cases_are_named(
    evaluated, refused, cases, split, tmp_path
):
    a = answer(split["test"], tmp_path / "a")
    refused("evaluate", "answers", a, "--cases", cases, says="was not split from them")
    counts, _ = evaluated(a, "--cases", cases, "--answered", split["test"])
    assert counts["scored"] == counts["candidates"] == 4


def test_imported_answers_of_unknown_case_or_other_group_are_refused(refused, evaluated, cases, split, tmp_path):
    imported = answer(cases, tmp_path / "a", config={"from": "elsewhere"})
    says = ["2 of 6 candidates answer cases that are not in", "--cases may be repeated"]
    refused("evaluate", "answers", imported, "--cases", split["test"], says=says)
    assert evaluated(imported, "--cases", cases)[0]["scored"] == 6
    lines = (tmp_path / "a" / "records.jsonl").read_text()
    first = json.loads(lines.splitlines()[0])
    with DatasetBuild(tmp_path / "b", "candidate", {}) as build:
        build.commit("u", [Candidate.model_validate({**first, "group_id": "another"})])
    refused("evaluate", "answers", "b", "--cases", cases, says="not another")


def test_where_no_truth_is_known_the_reason_is_told_instead_of_an_empty_table(refused, cases, tmp_path):
    hidden = split_by_group(cases, tmp_path / "r", roles={"unlabelled": 0.5, "test": 0.5}, seed=0)["unlabelled"]
    a = answer(hidden, tmp_path / "a")
    says = ["nothing to score: of", "the case has no finding"]
    refused("evaluate", "answers", a, "--cases", hidden, says=says)


def test_null_baselines_are_told_by_default_and_the_page_shows_confusion_and_pictures(
    vlmalign, cases, demos, tmp_path
):
    folder = answer(cases, tmp_path / "a")
    files = ("--json", tmp_path / "s.json", "--report", tmp_path / "r.html", "--examples", 2)
    result = vlmalign("evaluate", "answers", folder, "--cases", cases, *files)
    assert result.code == 0, result
    found = json.loads((tmp_path / "s.json").read_text())
    assert set(found["baselines"]) == {"uniform_random", "first_value"}
    constant, drawn = (found["baselines"][name]["in_scope_accuracy"] for name in ("first_value", "uniform_random"))
    assert constant["n"] == 6 and constant["n_groups"] == 3 and drawn["n"] == 60 and 0 < drawn["mean"] < 1
    assert "question_accuracy" not in found["baselines"]["first_value"]  # reports were asked for, no conversation
    page = (tmp_path / "r.html").read_text()
    assert "Null baselines" in page and "against what is true" in page
    assert "<b>a</b>" in page and str(tmp_path) not in page  # folders by the ends of their paths
    assert page.count('<article class="example">') == 2 and "data:image/png" in page and "<script" not in page
    learnt = vlmalign("evaluate", "answers", folder, "--cases", cases, "--learnt-from", demos,
                      "--allow-self-grading", "smear_phantom@1", "--json", tmp_path / "s.json")  # fmt: skip
    assert learnt.code == 0, learnt
    assert "majority_class" in json.loads((tmp_path / "s.json").read_text())["baselines"]
