"""`vlmalign compare`: two folders over the same items, as figures and as a page."""

import json
import re

import pytest

from vlmalign.records import Candidate, Case, DatasetBuild, Judgement, RecordFolder, Sampling, assistant

HOSTILE = "</p><script>alert(1)</script>"


def answer(cases, out, text, *, every=1, only=None):
    """One report to each case (or the first so many); every n-th gets the text, the others say nothing."""
    opened = RecordFolder(cases, Case)
    with DatasetBuild(out, "candidate", {"cases": opened.sha256}) as build:
        for k, case in enumerate(list(opened)[:only]):
            build.commit(case.id, [Candidate(
                id=f"{case.id}/report/0", case_id=case.id, group_id=case.group_id, policy=f"{out.name}@1", seed=0,
                tokens=5, messages=(assistant(text if k % every == 0 else "Nothing to say."),),
                sampling=Sampling(temperature=0, max_new_tokens=9),
            )])  # fmt: skip
    return out


def judge(out, verdicts, *, judge="j@1", **fields):
    """A verdict on the two answers of each case; None: invalid."""
    with DatasetBuild(out, "judgement", {}) as build:
        for k, verdict in enumerate(verdicts):
            why = {"valid": False, "invalid_reason": "refused"} if verdict is None else {}
            build.commit(str(k), [Judgement(
                id=f"{out.name}-{k}", case_id=f"c{k}", candidate_ids=(f"c{k}/0", f"c{k}/1"), criterion="pairwise",
                verdict=verdict, judge=judge, critique=HOSTILE, **why, **fields,
            )])  # fmt: skip
    return out


def score(out, scores, criterion="helpful", **fields):
    with DatasetBuild(out, "judgement", {}) as build:
        for k, value in enumerate(scores):
            build.commit(str(k), [Judgement(id=f"s{k}", case_id=f"c{k}", candidate_ids=(f"c{k}/0",), score=value,
                                            criterion=criterion, judge="j@1", **fields)])  # fmt: skip
    return out


@pytest.fixture
def compared(vlmalign, tmp_path):
    """Compare two folders, and give the figures and the page."""

    def run(*arguments):
        files = ("--json", tmp_path / "r.json", "--report", tmp_path / "r.html")
        result = vlmalign("compare", *arguments, *files)
        assert result.code == 0, result
        return json.loads((tmp_path / "r.json").read_text()), (tmp_path / "r.html").read_text(), result.out

    return run


def test_two_judges_are_compared_verdict_by_verdict(compared, tmp_path):
    a = judge(tmp_path / "a", ["first"] * 9 + ["second", "tie", None])
    b = judge(tmp_path / "b", ["second"] * 6 + ["first"] * 3 + ["second", "tie", "first"], judge="k@1")
    found, page, out = compared(a, b)
    each = found["metrics"]["pairwise"]
    assert each["items"] == {"a_better": 6, "equal": 5, "b_better": 0}
    assert each["difference"]["mean"] == pytest.approx(6 / 11) and each["difference"]["excluded"] == 1
    assert each["p"] == pytest.approx(2 / 2**6)
    (table,) = [table for table in found["tables"] if table["title"] == "verdicts"]
    assert (table["rows"], table["n"]) == (["first", "tie", "second", "no valid verdict"], 12)
    assert found["counts"]["a"]["invalid_reasons"] == {"refused": 1}
    assert "superiority: a is better than b: +54.5 points" in out
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_candidates_are_scored_and_their_concepts_subgroups_and_pictures_shown(compared, cases, tmp_path):
    a = answer(cases, tmp_path / "dpo", "Platelets are few. No leukocyte is seen.")
    b = answer(cases, tmp_path / "sft", "Platelets are absent.", every=2)
    found, page, _ = compared(a, b, "--cases", cases, "--metric", "omissions")
    assert found["counts"]["items"] == 6 and found["counts"]["groups"] == 3
    omitted = found["metrics"]["omissions"]
    assert omitted["less_is_better"] and omitted["items"]["a_better"] == 6
    assert omitted["difference"]["mean"] < 0  # fewer, which is better
    assert found["verdicts"][0]["difference"]["mean"] == pytest.approx(-omitted["difference"]["mean"])
    assert set(found["concepts"]) >= {"platelets", "leukocyte"}
    tested = found["win_tie_loss"]["tested"]
    assert found["win_tie_loss"]["over"] == "concepts" and sum(tested.values()) == len(found["concepts"])
    platelets = next(table for table in found["confusion"]["b"] if table["title"] == "platelets")
    assert "not said" in platelets["columns"] and platelets["n"] == 6
    assert page.count("data:image/png") >= 4 and "What dpo said, against what is true" in page


def test_the_page_and_figures_are_the_same_every_time(compared, cases, tmp_path):
    a = answer(cases, tmp_path / "a", "Platelets are few.")
    b = answer(cases, tmp_path / "b", "Platelets are absent.")
    first, second = (compared(a, b, "--cases", cases)[:2] for _ in range(2))
    assert first == second
    assert "<b>6</b> items of both" in first[1]
    assert not re.search(r"(src|href)=.?https?:", first[1]) and "<script" not in first[1]


def test_runs_over_different_items_are_refused_or_their_rest_is_counted(compared, refused, tmp_path):
    a, b = score(tmp_path / "a", [1, 0, 1, 1]), score(tmp_path / "b", [1, 0])
    says = ["2 are in both, 2 in A only, 0 in B only", "--common-only"]
    refused("compare", a, b, says=says)
    found, page, _ = compared(a, b, "--common-only")
    assert found["counts"]["items"] == 2 and found["counts"]["only_in_a"] == 2
    assert "2 items are in one run only" in page
    refused("compare", a, score(tmp_path / "x", [1], "safe"), "--common-only", says="the runs share no item")


def test_all_ties_are_told_and_no_difference_is_claimed(compared, tmp_path):
    a, b = judge(tmp_path / "a", ["tie"] * 8), judge(tmp_path / "b", ["tie"] * 8, judge="k@1")
    found, page, out = compared(a, b)
    each = found["metrics"]["pairwise"]
    assert each["p"] == 1.0 and each["verdict"] == "no difference shown"
    assert each["difference"]["low"] < 0 < each["difference"]["high"]
    assert found["verdicts"][2]["shown"] is False  # eight ties do not show equivalence
    assert "All 8 items that both runs score have the same score in both" in out
    assert "None is shown" in page


def test_ratings_are_compared_in_their_own_units(compared, tmp_path):
    a, b = score(tmp_path / "a", [5, 4, 4, 5, 3, 5]), score(tmp_path / "b", [3, 4, 2, 4, 3, 3])
    found, _, out = compared(a, b, "--margin", "0.5")
    assert found["metrics"]["helpful"]["share"] is False
    assert "non-inferiority: a is not worse than b by 0.5 or more: +1.17" in out
    found, _, _ = compared(a, b, "--less-is-better", "helpful")
    assert found["metrics"]["helpful"]["verdict"] == "worse"


def test_confidence_is_checked_against_what_is_right(compared, refused, cases, tmp_path):
    a = answer(cases, tmp_path / "a", "Platelets are few.")
    b = answer(cases, tmp_path / "b", "Platelets are absent.")
    stated = tmp_path / "stated"
    with DatasetBuild(stated, "judgement", {}) as build:
        for k, candidate in enumerate(RecordFolder(a, Candidate)):
            if k:
                build.commit(candidate.id, [Judgement(
                    id=candidate.id, case_id=candidate.case_id, candidate_ids=(candidate.id,), criterion=""
                    "confidence",
                    score=0.9, confidence=0.9, judge="e@1")])  # fmt: skip
    both = ("--confidence", stated, "--confidence", stated)
    found, page, _ = compared(a, b, "--cases", cases, "--metric", "invalid_rate", *both)
    assert found["reliability"]["a"]["without_confidence"] == 1
    assert found["reliability"]["a"]["brier"]["n"] == 5 and "Is confidence deserved?" in page
    assert found["reliability"]["a"]["brier"]["mean"] == pytest.approx(
        0.01
    )  # of an error less is better: all right
    assert found["reliability"]["a"]["risk_coverage"]["area"]["mean"] == 0 and "Risk over coverage" in page
    refused("compare", a, b, "--cases", cases, "--confidence", stated, says="give A's folder, then B's")
    refused("compare", a, b, "--cases", cases, "--metric", "omissions", *both, says="a metric of right and wrong")


def test_a_subgroup_that_no_compared_item_is_of_is_named_as_empty(compared, refused, cases, tmp_path):
    given, opened = tmp_path / "given", RecordFolder(cases, Case)
    with DatasetBuild(given, "case", {}) as build:
        for k, case in enumerate(opened):
            for image in case.images:
                build.adopt(image, opened.path)
            told = {**case.model_dump(), "attributes": {"sex": "f" if k < 4 else "m"}}
            build.commit(case.id, [Case.model_validate(told)])
    a = answer(given, tmp_path / "a", "Platelets are few.", only=4)
    b = answer(given, tmp_path / "b", "Platelets are absent.", only=4)
    found, page, _ = compared(a, b, "--cases", given, "--by", "sex", "--metric", "omissions")
    states = {name: each["state"] for name, each in found["subgroups"]["sex"]["subgroups"].items()}
    assert states == {"f": "no other subgroup", "m": "empty subgroup"}
    assert "empty subgroup" in page
    refused("compare", a, b, "--cases", given, "--by", "sex,site", says="tells its site")


def test_folders_that_cannot_be_compared_are_refused(refused, cases, tmp_path):
    a, b = score(tmp_path / "a", [1, 0]), score(tmp_path / "b", [1, 0])
    answers = answer(cases, tmp_path / "answers", "Platelets are few.")
    refused("compare", a, a, says="is given twice")
    refused("compare", a, answers, says="it holds candidate records")
    refused("compare", cases, answers, says="it holds candidate records")
    refused("compare", answers, answer(cases, tmp_path / "more", "x"), says="--cases is not given")
    refused("compare", a, b, "--metric", "harm", says="no item has the metric 'harm': choose from helpful")
    refused("compare", a, b, "--margin", "0", says="--margin is 0")
    refused("compare", a, b, "--by", "sex", says="--by needs --cases")
    refused("compare", a, b, "--names", "x", says="expected 2 different ones")
    with DatasetBuild(tmp_path / "two", "judgement", {}) as build:
        for name in ("j@1", "k@1"):
            build.commit(name, [Judgement(id=name, case_id="c0", candidate_ids=("c0/0",), score=1, criterion=""
            "helpful",
                                          judge=name)])  # fmt: skip
    refused("compare", a, tmp_path / "two", says="compare the judges")


def score_sides(out, margins, **fields):
    """A reward's scores of both sides of pairs; a margin of None: the rejected side is invalid."""
    with DatasetBuild(out, "judgement", {}) as build:
        for k, margin in enumerate(margins):
            why = {"valid": False, "invalid_reason": "no claim"} if margin is None else {"score": 100.0}
            build.commit(str(k), [
                Judgement(id=f"{k}c", case_id=f"c{k}", candidate_ids=(f"p{k}/chosen",), criterion="r",
                          judge=f"{out.name}@1", score=100.0 + (margin or 0)),
                Judgement(id=f"{k}r", case_id=f"c{k}", candidate_ids=(f"p{k}/rejected",), criterion="r",
                          judge=f"{out.name}@1", **why)])  # fmt: skip
    return out


def test_two_rewards_are_compared_by_the_pairs_that_they_order_rightly_not_by_their_units(compared, tmp_path):
    a = score_sides(tmp_path / "a", [50.0] * 8 + [0.0, None])
    b = score_sides(tmp_path / "b", [0.1] * 2 + [-0.1] * 6 + [0.1, 0.1])
    found, page, out = compared(a, b)
    each = found["metrics"]["pair_accuracy"]
    assert list(found["metrics"]) == ["pair_accuracy"] and each["share"]
    assert each["items"] == {"a_better": 6, "equal": 2, "b_better": 1} and each["difference"]["excluded"] == 1
    assert each["difference"]["mean"] == pytest.approx((6 - 0.5) / 9)
    (table,) = [table for table in found["tables"] if table["title"] == "verdicts"]
    assert set(table["rows"]) >= {"right", "tie", "no valid verdict"} and table["n"] == 10
    assert "every case is a cluster of its own" in out and "every case is a cluster of its own" in page


def test_judgements_get_their_patients_from_cases_candidates_or_pairs(compared, refused, cases, tmp_path):
    opened = list(RecordFolder(cases, Case))

    def of_cases(out, verdicts):
        with DatasetBuild(out, "judgement", {}) as build:
            for case, value in zip(opened, verdicts, strict=True):
                build.commit(case.id, [Judgement(
                    id=f"j{case.id}", case_id=case.id, candidate_ids=(f"{case.id}/0",), score=value,
                    criterion="right", judge="j@1")])  # fmt: skip
        return out

    a, b = of_cases(tmp_path / "a", [1] * 6), of_cases(tmp_path / "b", [0, 1] * 3)
    assert compared(a, b)[0]["counts"]["groups"] == 6
    answers = answer(cases, tmp_path / "answers", "Platelets are few.")
    for folder in (cases, answers):
        found, _, out = compared(a, b, "--groups", folder)
        assert found["counts"]["groups"] == 3 and "a cluster of its own" not in out
    refused("compare", a, b, "--groups", a, says="it holds judgement records, which tell no groups")
    refused("compare", a, b, "--groups", cases, "--cases", cases, says="drop --groups")
    refused("compare", a, b, "--answered", cases, says="--answered is of candidates")
    refused("compare", answers, answer(cases, tmp_path / "more", "x"), "--cases", cases, "--groups", cases,
            says="--groups is of judgements")  # fmt: skip


def test_further_runs_are_each_compared_with_the_first_and_adjusted_together(vlmalign, refused, tmp_path):
    a = score(tmp_path / "a", [1] * 12)
    b, c = score(tmp_path / "b", [0] * 6 + [1] * 6), score(tmp_path / "c", [0] * 7 + [1] * 5)
    result = vlmalign("compare", a, b, c, "--json", tmp_path / "r.json", "--report", tmp_path / "r.html")
    assert result.code == 0, result
    found = json.loads((tmp_path / "r.json").read_text())
    p = [each["metrics"]["helpful"]["p"] for each in found["comparisons"]]
    adjusted = [each["metrics"]["helpful"]["p_holm"] for each in found["comparisons"]]
    assert p == [2 / 2**6, 2 / 2**7] and adjusted == [2 / 2**6, 2 * 2 / 2**7] and found["tested"] == 2
    assert [each["names"] for each in found["comparisons"]] == [["a", "b"], ["a", "c"]]
    assert (tmp_path / "r-1.html").exists() and "<b>12</b> items" in (tmp_path / "r-2.html").read_text()
    assert "all metrics of 2 comparisons" in result.out
    refused("compare", a, b, a, says="is given twice")
    refused("compare", a, b, c, "--names", "x,y", says="expected 3 different ones")


def test_candidates_to_another_selection_of_the_cases_are_compared_when_those_are_named(compared, cases, tmp_path):
    opened, chosen = RecordFolder(cases, Case), tmp_path / "chosen"
    with DatasetBuild(chosen, "case", {}) as build:
        for case in list(opened)[:4]:
            for image in case.images:
                build.adopt(image, opened.path)
            build.commit(case.id, [case])
    runs = [answer(cases, tmp_path / name, f"Platelets are {name}.") for name in ("few", "absent")]
    found, _, _ = compared(*runs, "--cases", chosen, "--answered", cases)
    assert found["counts"]["items"] == 4 and found["counts"]["a"]["excluded_other_case"] == 2


def test_where_pages_and_figures_go_is_checked_before_the_work(refused, tmp_path):
    a, b = score(tmp_path / "a", [1, 0]), score(tmp_path / "b", [1, 0])
    refused("compare", a, b, "--report", tmp_path, says="this is a folder")
    refused("compare", a, b, "--json", a / "records.json", says="this would change the input")
    refused("compare", a, b, "--json", "x", "--report", "x", says="give each a file of its own")
    for margin in ("nan", "inf", "-1"):
        refused("compare", a, b, "--margin", margin, says=f"--margin is {float(margin)}")
