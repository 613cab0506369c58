"""`vlmalign evaluate tax`: folders of answers before and after, as figures and as a page."""

import json

import pytest

from vlmalign.records import Candidate, Case, DatasetBuild, Judgement, RecordFolder, Sampling, assistant

FEW, NONE = "Platelets are few. No leukocyte is seen.", "Platelets are absent."


def answer(cases, out, text, *, only=None):
    opened = RecordFolder(cases, Case)
    with DatasetBuild(out, "candidate", {"cases": opened.sha256}, data_use="open") as build:
        for case in list(opened)[:only]:
            build.commit(case.id, [Candidate(
                id=f"{case.id}/report/0", case_id=case.id, group_id=case.group_id, policy=f"{out.parent.name}@1",
                tokens=5, seed=0, messages=(assistant(text),), sampling=Sampling(temperature=0, max_new_tokens=9),
            )])  # fmt: skip
    return out


def rate(out, scores):
    with DatasetBuild(out, "judgement", {}, data_use="open") as build:
        for k, value in enumerate(scores):
            build.commit(str(k), [Judgement(id=f"s{k}", case_id=f"c{k}", candidate_ids=(f"c{k}/0",), score=value,
                                            criterion="helpful", judge="j@1")])  # fmt: skip
    return out


@pytest.fixture
def given(cases, tmp_path):
    """The cases with sexes (of one none is told) and a question type."""
    opened = RecordFolder(cases, Case)
    with DatasetBuild(tmp_path / "given", "case", {}, data_use="open") as build:
        for k, case in enumerate(opened):
            for image in case.images:
                build.adopt(image, opened.path)
            told = {
                **case.model_dump(),
                "attributes": {"sex": "fm"[k % 2]} if k else {},
                "extra": {"type": "ab"[k % 2]},
            }
            build.commit(case.id, [Case.model_validate(told)])
    return tmp_path / "given"


@pytest.fixture
def taxed(vlmalign, tmp_path):
    def run(*arguments):
        files = ("--json", tmp_path / "r.json", "--report", tmp_path / "r.html")
        result = vlmalign("evaluate", "tax", *arguments, *files)
        assert result.code == 0, result
        return json.loads((tmp_path / "r.json").read_text()), (tmp_path / "r.html").read_text(), result.out

    return run


def test_tasks_are_matched_by_name_and_the_rest_is_named(taxed, given, tmp_path):
    for task, texts in {"report": (FEW, FEW + " " + FEW), "other": (FEW, NONE)}.items():
        answer(given, tmp_path / "sft" / task, texts[0])
        answer(given, tmp_path / "dpo" / task, texts[1])
    answer(given, tmp_path / "sft" / "old", FEW)
    found, page, out = taxed(tmp_path / "sft", tmp_path / "dpo", "--cases", given, "--target", "report")
    assert set(found["tasks"]) == {"report", "other"} and found["missing_tasks"]["only_before"] == ["old"]
    assert "1 tasks only before, left out: old" in out and "old" in page
    assert found["tasks"]["report"]["words"]["ratio"]["mean"] == 2.0  # FEW twice
    assert found["tasks"]["report"]["p_holm"] is None and found["macro"]["over"] == ["other"]
    leukocyte = found["findings"]["other"]["findings"]["leukocyte"]
    assert leukocyte["missing"]["before"]["mean"] == 0.0 and leukocyte["missing"]["after"]["mean"] == 1.0
    assert found["subgroups"]["other"]["sex"]["not told"]["items"] == 1
    assert (found["setup"]["before"], found["setup"]["after"]) == ("sft", "dpo") and str(tmp_path) not in page
    assert "Gains and taxes" in page and "<script" not in page and "small: " in page


def test_a_field_of_the_cases_splits_a_task(taxed, refused, given, tmp_path):
    a, b = answer(given, tmp_path / "a", FEW), answer(given, tmp_path / "b", NONE)
    found, _, _ = taxed(a, b, "--cases", given, "--subset", "type", "--by", "sex", "--target", "b/a")
    assert {name: each["counts"]["items"] for name, each in found["tasks"].items()} == {"b/a": 3, "b/b": 3}
    assert found["tasks"]["b/a"]["target"] and set(found["subgroups"]["b/b"]["sex"]) >= {"f", "m"}
    assert found["subgroups"]["b/b"]["sex"]["f"]["state"] == "empty subgroup"
    refused("evaluate", "tax", a, b, "--cases", given, "--subset", "colour", says="has that field in `extra`")


def test_judgements_are_tasks_too_with_a_margin_in_their_own_units(taxed, tmp_path):
    rate(tmp_path / "sft" / "style", [4, 4, 5, 3]), rate(tmp_path / "dpo" / "style", [5, 5, 5, 5])
    found, _, out = taxed(tmp_path / "sft", tmp_path / "dpo", "--margin", "style=0.5")
    style = found["tasks"]["style"]
    assert style["gain"]["mean"] == 1.0 and style["words"] is None and style["margin"] == 0.5
    assert "style is not in the overall figure: its metric is no share" in out


def test_tasks_over_different_items_are_refused_or_their_rest_is_counted(taxed, refused, given, tmp_path):
    a, b = answer(given, tmp_path / "a", FEW), answer(given, tmp_path / "b", FEW, only=4)
    says = ["task 'b' (A: after, B: before)", "4 are in both, 0 in A only, 2 in B only", "--common-only"]
    refused("evaluate", "tax", a, b, "--cases", given, says=says)
    found, page, _ = taxed(a, b, "--cases", given, "--common-only")
    counts = found["tasks"]["b"]["counts"]
    assert (counts["items"], counts["only_before"], counts["only_after"]) == (4, 2, 0)
    assert "2 items are only before" in page


def test_what_does_not_fit_is_refused_before_any_work(refused, given, cases, tmp_path):
    a, b = answer(given, tmp_path / "a", FEW), answer(given, tmp_path / "b", FEW)
    tax = ("evaluate", "tax")
    refused(*tax, a, a, says="is given twice")
    refused(*tax, a, b, says="--cases is not given")
    refused(*tax, a, b, "--by", "sex", says="--by and --subset need --cases")
    refused(*tax, a, b, "--cases", given, "--by", "height", says="--by 'height' is not known")
    refused(*tax, a, b, "--cases", given, "--by", "sex,site", says="tells its site")
    refused(*tax, a, b, "--cases", given, "--target", "x", says="--target 'x' is no task: choose from b")
    refused(*tax, a, b, "--cases", given, "--margin", "0", says="--margin is 0")
    refused(*tax, a, b, "--cases", given, "--margin", "wide", says="expected numbers")
    refused(*tax, a, b, "--cases", given, "--margin", "nan", says="--margin is nan")
    refused(*tax, a, b, "--cases", given, "--json", f"{b}/x.json", says="this would change the input")
    refused(*tax, a, b, "--cases", given, "--json", "x", "--report", "x", says="give each a file of its own")
    refused(*tax, a, b, "--cases", given, "--metric", "right", says="expected TASK=VALUE")
    refused(*tax, a, b, "--cases", given, "--logic", "chest_xray", says="give one for each domain of the cases")
    refused(*tax, cases, b, "--cases", given, says="it holds case records")
    refused(*tax, a, rate(tmp_path / "j", [1]), "--cases", given, says="must be of one kind on both sides")
    refused(*tax, tmp_path / "nowhere", b, says="there is no such folder")
    answer(given, tmp_path / "x" / "one", FEW), answer(given, tmp_path / "y" / "two", FEW)
    refused(*tax, tmp_path / "x", tmp_path / "y", "--cases", given, says="it has no task of")
