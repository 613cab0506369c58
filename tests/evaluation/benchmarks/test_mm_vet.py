import pytest

from vlmalign.records import DataError

QUESTIONS = {
    "v1_0": {"imagename": "a.png", "question": "x?", "answer": "1", "capability": ["ocr", "math"]},
    "v1_1": {"imagename": "a.png", "question": "y?", "answer": "2", "capability": ["math", "ocr"]},
    "v1_2": {"imagename": "b.png", "question": "z?", "answer": "3", "capability": ["rec"]},
    "v1_3": {"imagename": "c.png", "question": "w?", "answer": "4", "capability": ["rec", "ocr"]},
}


def grades(**scores):
    return {
        name: {"model": ["m"] * len(given), "content": [str(g) for g in given], "score": list(given)}
        for name, given in scores.items()
    }


@pytest.fixture
def result(write_log, run):
    log = grades(v1_0=(1.0, 0.8), v1_1=(0.0, 0.2), v1_2=(0.4, 0.4))
    log["v1_3"] = {"model": ["m", "m"], "content": ["I think", "Sorry"], "score": [0.0, 0.0]}
    return run("mm-vet", write_log("mm-vet.json", QUESTIONS), write_log("model_grade.json", log))


def test_a_capability_is_the_mean_of_all_items_that_need_it(result, means):
    # item means: 0.9, 0.1, 0.4, none
    assert means(result, "capabilities", "ocr") == {"score": 0.5, "score_all": round(1 / 3, 4)}
    assert means(result, "capabilities", "rec") == {"score": 0.4, "score_all": 0.2}


def test_an_integration_is_of_the_items_with_exactly_its_capabilities(result, means):
    assert list(result.table("integrations").rows) == ["math+ocr", "ocr+rec", "rec"]
    assert means(result, "integrations", "math+ocr")["score"] == 0.5
    assert means(result, "integrations", "ocr+rec") == {"score": None, "score_all": 0.0}


def test_a_grade_whose_text_is_no_number_is_no_grade_though_the_script_wrote_0(result, means):
    assert result.counts == {"scored": 3, "ungraded": 1}
    assert means(result, "overall")["score"] == round((0.9 + 0.1 + 0.4) / 3, 4)


def test_the_spread_of_the_judge_is_the_population_std_of_run_totals_and_has_no_interval(result):
    row = result.table("overall").rows["all"]
    runs = [row["run_1"].mean, row["run_2"].mean]  # 1.4 / 3 and 1.4 / 3: the judge wavers, the totals do not
    assert runs == pytest.approx([1.4 / 3, 1.4 / 3])
    assert row["judge_run_std"].mean == pytest.approx(0.0) and row["judge_run_std"].low is None
    assert row["score"].n_groups == 2  # two questions are about one image


def test_a_table_of_one_run_is_read_too(write_log, run, means):
    log = write_log("graded.tsv", [{"index": 1, "category": "rec,ocr", "score": 0.5},
                                   {"index": 2, "category": "rec", "score": 1}])  # fmt: skip
    result = run("mm-vet", log)
    assert means(result, "capabilities", "rec")["score"] == 0.75
    assert "judge_run_std" not in result.table("overall").rows["all"]


def test_a_grade_out_of_range_is_refused(write_log, run):
    with pytest.raises(
        DataError, match="record '1', field 'score': the grade is '7', expected a number from 0 to 1"
    ):
        run("mm-vet", write_log("graded.tsv", [{"index": 1, "category": "rec", "score": 7}]))
