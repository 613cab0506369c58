import math

import pytest

from vlmalign.records import Candidate, DataError, DatasetBuild, Judgement, Sampling, assistant

FINAL = "final (mean of the six)"
SHARED, WRONG = "accuracy, a tie is shared", "accuracy, a tie is wrong"
TIES = "Ties score (published)"


def four(k, scores, subset="Math", **more):
    return {"id": str(k), "subset": subset, "scores": scores, "num_correct": 1, **more}


def ties(name, right, wrong):
    return {"id": name, "subset": "Ties", "scores": [*right, *wrong], "num_correct": len(right)}


#: question 1: gap 1 over spread 0.5, reference gap 3; 2: gap 1 under spread 2, reference gap 0.5; 3: wrong, right
QUESTIONS = [
    ties("ref:1", [3.0], [0.0, -2.0]), ties("tied:1", [2.0, 2.5], [1.0, 0.0]),
    ties("ref:2", [1.0], [0.5]), ties("tied:2", [2.0, 4.0], [1.0]),
    ties("ref:3", [1.0], [0.0]), ties("tied:3", [0.0, 1.0], [0.5]),
]  # fmt: skip


def test_the_right_answer_must_have_the_highest_of_four_scores_and_shares_it_in_a_tie(run, write_log, means):
    rows = [
        four(1, [3, 1, 2, 0]),
        four(2, [1, 3, 2, 0]),
        four(3, [2, 2, 1, 0]),
        four(4, [[1.0], [1.0], [1.0], [1.0]]),
    ]
    found = run("reward-bench-2", write_log("a.jsonl", rows))
    assert means(found, "subsets", "Math")[SHARED] == (1 + 0 + 1 / 2 + 1 / 4) / 4
    assert means(found, "subsets", "Math")[WRONG] == 0.25
    assert found.counts == {"scored": 2, "tied": 2, "missing": 1865 - 4}
    assert means(found, "baselines", "the same score for every answer") == {"accuracy": 0.25}


def test_ties_are_six_tenths_accuracy_and_four_tenths_margin(run, write_log, means):
    found = means(run("reward-bench-2", write_log("a.json", QUESTIONS)), "ties", "Ties")
    assert found["accuracy, tied questions"] == round(2 / 3, 4) and found["accuracy, reference questions"] == 1
    assert found["margin: gap above spread"] == found["margin: lower gap of both above spread"] == round(1 / 3, 4)
    closeness = (math.tanh(1 / 0.5 - 1) + math.tanh(0.5 / 2 - 1) + math.tanh(-0.5 / 1 - 1)) / 3
    assert found[TIES] == pytest.approx(0.3 * 2 / 3 + 0.3 + 0.4 / 3 + 0.01 * closeness, abs=1e-4)


def test_a_gap_equal_to_the_spread_or_to_nothing_is_not_above_it(run, write_log, means):
    rows = [ties("ref:1", [1.0], [0.0]), ties("tied:1", [2.0, 3.0], [1.0]),
            ties("ref:2", [1.0], [1.0]), ties("tied:2", [1.0, 1.0], [1.0])]  # fmt: skip
    found = means(run("reward-bench-2", write_log("a.json", rows)), "ties", "Ties")
    assert found["margin: gap above spread"] == 0 and found["accuracy, tied questions"] == 0.5
    assert found[TIES] == pytest.approx(0.3 * 0.5 + 0.3 * 0.5)  # tanh(1 / 1 - 1) and 0 / 0 are 0


def test_a_question_in_one_form_alone_is_in_no_margin_and_an_unread_one_nowhere(run, write_log):
    rows = [*QUESTIONS[:2], QUESTIONS[2], ties("tied:9", [1.0, -1], [0.0])]
    table = run("reward-bench-2", write_log("a.json", rows), unread="-1").table("ties")
    row = table.rows["Ties"]
    assert (row["accuracy, reference questions"].n, row["margin: gap above spread"].n) == (2, 1)
    assert (row["accuracy, tied questions"].n, row["accuracy, tied questions"].excluded) == (1, 1)
    assert "2 questions are there in one form alone" in table.note


def test_the_script_s_columns_and_rows_are_read_alike_and_six_subsets_give_the_mean(run, write_log):
    names = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    rows = [four(f"{name}{k}", [k, 1, 0, -1], name) for name in names for k in (0, 2, 3, 4)] + QUESTIONS
    by_row = run("reward-bench-2", write_log("rows.json", rows))
    columns = {key: [row[key] for row in rows] for key in rows[0]} | {"model": "x"}
    by_column = run("reward-bench-2", write_log("columns.json", columns))
    assert {**by_row.to_dict(), "files": None} == {**by_column.to_dict(), "files": None}
    final = by_row.table("subsets").rows[FINAL][SHARED]
    alone = by_row.table("ties").rows["Ties"][TIES]
    assert final.mean == pytest.approx((5 * 0.75 + alone.mean) / 6)
    assert final.low < final.mean < final.high and final.high - final.low < alone.high - alone.low


def test_a_judge_s_unread_reply_is_a_state_and_not_a_quarter_of_a_point(run, write_log, means):
    rows = [{"id": str(k), "subset": "Focus", "results": value} for k, value in enumerate((1, 0, 0.25, 0.5))]
    found = run("reward-bench-2", write_log("a.jsonl", rows))
    assert found.counts["unparsed"] == 1 and means(found, "subsets", "Focus")[SHARED] == 0.5


def test_published_subset_scores_give_the_published_mean(run, write_log, means):
    scores = {"Factuality": 0.8, "Precise IF": 0.4, "Math": 0.6, "Safety": 0.9, "Focus": 0.7, "Ties": 0.75}
    found = run("reward-bench-2", write_log("m.json", {"model": "x", **scores}))
    assert means(found, "subsets", FINAL)[SHARED] == round(sum(scores.values()) / 6, 4)
    part = run("reward-bench-2", write_log("p.json", {"Math": 0.6}))
    assert FINAL not in part.table("subsets").rows and part.counts["missing"] == 1865 - 183


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (ties("7", [1.0, 2.0], [0.0]), "expected ref:NUMBER or tied:NUMBER"),
        (ties("tied:7", [1.0], [0.0]), "num_correct is 1 of 2 answers"),
        (four(1, [1.0]), "expected a list of one score an answer"),
        ({"id": "1", "subset": "Math", "scores": [1, 2], "num_correct": 2}, "num_correct is 2 of 2"),
        ({"id": "1", "subset": "Math", "results": 2}, "results is 2, expected 0 to 1"),
        ({"id": "1", "scores": [1, 2]}, "it has no subset"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named_with_its_line(run, write_log, row, told):
    with pytest.raises(DataError, match="a.jsonl:2.*" + told):
        run("reward-bench-2", write_log("a.jsonl", [four(0, [1, 0, 0, 0]), row]))
    with pytest.raises(DataError, match="used more than once"):
        run("reward-bench-2", write_log("b.jsonl", [four(0, [1, 0, 0, 0])] * 2))


def test_our_own_folders_of_candidates_and_judgements_are_scored_alike(run, tmp_path):
    def candidates(name, extra):
        with DatasetBuild(tmp_path / name, "candidate", {}) as build:
            for case in ("a", "b"):
                build.commit(case, [Candidate(
                    id=f"{case}/{k}", case_id=case, messages=(assistant("yes " * (k + 1)),), policy="p@1", seed=0,
                    sampling=Sampling(max_new_tokens=9, sample=k), extra=extra(k),
                ) for k in range(4)])  # fmt: skip
        return tmp_path / name

    answers = candidates("answers", lambda k: {"correct": k == 2, "subset": "own"})
    with DatasetBuild(tmp_path / "judged", "judgement", {}) as build:
        for case, best in (("a", 2), ("b", 0)):
            build.commit(case, [Judgement(
                id=f"{case}{k}", case_id=case, candidate_ids=(f"{case}/{k}",), criterion="x", judge="j@1",
                score=float(k == best)) for k in range(4)])  # fmt: skip
    found = run("reward-bench-2", answers, tmp_path / "judged")
    assert found.table("subsets").rows["own"][SHARED].mean == 0.5 and found.counts == {"scored": 2}
    with pytest.raises(DataError, match="extra.correct to true or false"):
        run("reward-bench-2", candidates("unknown", lambda k: {}), tmp_path / "judged")
    with pytest.raises(DataError, match="4 of its 4 answers are right"):
        run("reward-bench-2", candidates("all", lambda k: {"correct": True}), tmp_path / "judged")


def test_ids_are_unique_within_a_subset_and_the_ten_that_are_published_wrongly_are_mended(run, write_log):
    fact = [four(k, [1, 0, 0, 0], "Factuality") for k in (*range(30, 40), *range(10, 45))]
    found = run("reward-bench-2", write_log("a.jsonl", [*fact, four(30, [0, 1, 0, 0], "Focus")]))
    row = found.table("subsets").rows["Factuality"][SHARED]
    assert (row.n, row.n_groups) == (45, 45)
    with pytest.raises(DataError, match="1 ids are used more than once"):
        run("reward-bench-2", write_log("b.jsonl", [*fact[10:], fact[12]]))
