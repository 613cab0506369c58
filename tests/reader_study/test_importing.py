import csv
import io
import json
from collections import Counter

import pytest

from vlmalign.reader_study import (
    StudyPlan,
    collect,
    design_study,
    export_study,
    import_answers,
    read_key,
    read_public,
    read_unblinded,
)
from vlmalign.reader_study.analysis import analyze, methods_text
from vlmalign.reader_study.redcap import data_dictionary, import_records
from vlmalign.records import Case, DataError, DatasetBuild, Judgement, Preference, assistant, read_records


@pytest.fixture
def prefer(answer_file):
    """A file in which a reader always prefers the texts of one arm, found by a word in them."""

    def make(path, study, reader, word="effusion lies", **given):
        def answer(reading):
            left = word in "".join(reading.texts[0])
            if reading.kind == "guess":
                return {"guess": "left" if left else "right"}
            ratings = {name: [5, 2] if left else [2, 5] for name in read_public(study).questions.criteria}
            return {"preference": 1 if left else 3, "ratings": ratings}

        return answer_file(path, read_public(study), reader, answer, **given)

    return make


def test_a_planted_preference_comes_back_unblinded_as_judgements_and_pairs(design, prefer, tmp_path):
    study = design(criteria=("correctness",), repeats=2, purpose="training")
    files = [prefer(tmp_path / f"{r}.json", study, r) for r in ("anna", "ben")]
    found = import_answers(study, files, tmp_path / "out")
    pairs = read_records(tmp_path / "out/preferences", Preference)
    assert len(pairs) == 6 and not found.missing and not found.absent
    for pair in pairs:
        assert pair.provenance["arms"] == ["dpo_quagga", "sft_zebra"] and "effusion lies" in pair.chosen[0].text
        assert pair.source == "reader" and pair.split == "train" and pair.margin == 1.0
        assert pair.provenance["votes"] == {"for": 2, "against": 0, "tied": 0}
    judgements = read_records(tmp_path / "out/judgements", Judgement)
    for j in judgements:
        if j.criterion == "preference":
            assert j.candidate_ids[{"first": 0, "second": 1}[j.verdict]].startswith("dpo_quagga")
        elif j.criterion == "correctness":
            assert j.score == (5 if j.candidate_ids[0].startswith("dpo_quagga") else 2)
    assert {j.display_order[0].split("/")[0] for j in judgements} == {"sft_zebra", "dpo_quagga"}
    rows = read_unblinded(tmp_path / "out")
    assert sum(r.repeat for r in rows) == 4 and sum(r.kind == "guess" for r in rows) == 8


def test_readers_who_disagree_make_a_tie_and_each_verdict_can_be_a_pair_of_half_weight(design, prefer, tmp_path):
    study = design()
    files = [prefer(tmp_path / "a.json", study, "anna"), prefer(tmp_path / "b.json", study, "ben", "zzz")]
    raw = json.loads(files[1].read_text())
    public = {r.id: r for r in read_public(study).form("ben").readings}
    for a in raw["answers"]:  # ben prefers the other one, always
        left = "effusion lies" in "".join(public[a["reading"]].texts[0])
        a["preference"] = 3 if left else 1
    files[1].write_text(json.dumps(raw))
    import_answers(study, files, tmp_path / "out")
    folder = tmp_path / "out/preferences"
    assert read_records(folder, Preference) == []
    assert json.loads((folder / "manifest.json").read_text())["counts"]["ties"] == 6
    import_answers(study, files, tmp_path / "each", votes="each")
    pairs = read_records(tmp_path / "each/preferences", Preference)
    assert len(pairs) == 12 and {p.weight for p in pairs} == {0.5} and {p.split for p in pairs} == {"test"}


def test_every_fault_is_named_and_with_skip_nothing_is_lost(design, prefer, tmp_path):
    study, other = design(), design("other", title="Another study", seed=5)
    good = prefer(tmp_path / "anna.json", study, "anna")
    answers = json.loads(good.read_text())
    answers["answers"][0]["preference"] = 2
    again = tmp_path / "anna (1).json"
    again.write_text(json.dumps(answers))
    ben = json.loads(prefer(tmp_path / "ben.json", study, "ben").read_text())
    ben["answers"][0]["reading"] = "r123"
    ben["answers"][1]["reading"] = answers["answers"][1]["reading"]
    ben["answers"][2]["preference"] = 7
    edited = tmp_path / "ben-edited.json"
    edited.write_text(json.dumps(ben))
    torn = tmp_path / "torn.json"
    torn.write_bytes(good.read_bytes()[:200])
    nul = tmp_path / "nul.csv"
    nul.write_bytes(b"study,reader\0\n")
    wrong = prefer(tmp_path / "wrong.json", other, "ben")
    files = [good, again, edited, torn, nul, wrong]
    with pytest.raises(DataError) as error:
        import_answers(study, files, tmp_path / "out")
    for words in ("anna.json:1: another answer to reading", "'r123' is not in the study: the id was changed",
                  "preference is 7, expected 1 to 3", "torn.json",
                  "NUL bytes", "answers are of study", "more of this kind"):  # fmt: skip
        assert words in str(error.value)
    assert not (tmp_path / "out").exists()
    found = import_answers(study, files, tmp_path / "out", on_bad="skip")
    kinds = found.counts
    assert kinds["set_aside:two_versions"] == 1 and kinds["set_aside:edited_id"] == 2
    assert kinds["set_aside:wrong_study"] == len(read_public(other).form("ben").readings)
    unused = [json.loads(line) for line in (tmp_path / "out/unused.jsonl").read_text().splitlines()]
    assert len(unused) == sum(n for name, n in kinds.items() if name.startswith("set_aside"))
    assert any(u["content"] and u["content"]["preference"] == 7 for u in unused)
    assert len(found.missing["ben"]) == 3


def test_unanswered_readings_are_invalid_judgements_and_absent_readers_are_named(design, prefer, tmp_path):
    study = design()
    dropped = [r.id for r in read_public(study).form("anna").readings[:2]]
    found = import_answers(study, [prefer(tmp_path / "a.json", study, "anna", drop=dropped)], tmp_path / "out")
    assert found.missing == {"anna": dropped} and found.absent == ["ben"]
    invalid = [j for j in read_records(tmp_path / "out/judgements", Judgement) if not j.valid]
    assert [j.extra["reading"] for j in invalid] == dropped
    assert {j.invalid_reason for j in invalid} == {"not answered"}


def test_a_table_filled_in_a_spreadsheet_with_semicolons_says_the_same_as_the_page(design, prefer, tmp_path):
    study = design(criteria=("correctness",))
    page = prefer(tmp_path / "a.json", study, "anna")
    said = {a["reading"]: a for a in json.loads(page.read_text())["answers"]}
    export_study(study, tmp_path / "out", formats=("csv",))
    rows = list(csv.DictReader((tmp_path / "out/reader-anna/study.csv").open(encoding="utf-8-sig", newline="")))
    with open(tmp_path / "filled.csv", "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        for row in rows:
            a = said[row["reading"]]
            row["guess"] = a.get("guess", "")
            if row["kind"] == "rate":
                row["preference"] = a["preference"]
                row["correctness_left"], row["correctness_right"] = a["ratings"]["correctness"]
            writer.writerow(row)
    found = import_answers(study, [page, tmp_path / "filled.csv"], tmp_path / "read")
    assert found.counts["equal_copies"] == len(rows) and not found.problems


def test_marked_errors_count_only_where_the_reader_says_that_all_are_marked(design, answer_file, tmp_path):
    study = design(mark_errors=True, preference=0, guesses=0)
    public = read_public(study)
    first = public.form("anna").readings[0].id

    def answer(reading):
        marks = [[0] * len(text) for text in reading.texts]
        marks[0][0] = 2
        return {"errors": marks, "checked": reading.id == first, "comment": "x"}

    import_answers(study, [answer_file(tmp_path / "a.json", public, "anna", answer)], tmp_path / "out")
    by_reading = {}
    for j in read_records(tmp_path / "out/judgements", Judgement):
        by_reading.setdefault(j.extra["reading"], []).append(j)
    assert sorted(j.score for j in by_reading.pop(first)) == [-1.0, 0.0]
    assert all(not j.valid for js in by_reading.values() for j in js)


def test_the_key_must_be_that_of_the_study(design, prefer, tmp_path):
    study, other = design(), design("other", title="Another", seed=4)
    file = prefer(tmp_path / "a.json", study, "anna")
    with pytest.raises(DataError, match="this is the key of study"):
        import_answers(study, [file], tmp_path / "out", key=other / "private" / "key.json")
    assert read_key(study, study / "private" / "key.json").purpose == "evaluation"


def test_undecided_pairs_come_back_decided_under_their_own_ids(inputs, answer_file, tmp_path):
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        for case in read_records(inputs / "cases", Case)[:3]:
            build.adopt(case.images[0], inputs / "cases")
            sides = (assistant("A nodule."), assistant("No nodule."))
            build.commit(case.id, [Preference(
                id=f"pair/{case.id}", case_id=case.id, group_id=case.group_id, split="train", images=case.images,
                prompt=case.messages, chosen=sides[:1], rejected=sides[1:], weight=0.0, source="reward",
            )])  # fmt: skip
    plan = StudyPlan(readers=("anna",), purpose="training", select="uncertain", n_cases=2)
    study = design_study(plan, tmp_path / "study", pairs=tmp_path / "pairs")
    public = read_public(study)
    assert public.questions.guess is None and len(public.forms[0].readings) == 2

    def answer(reading):
        return {"preference": 1 if reading.texts[0] == ("No nodule.",) else 3}

    import_answers(study, [answer_file(tmp_path / "a.json", public, "anna", answer)], tmp_path / "out")
    pairs = read_records(tmp_path / "out/preferences", Preference)
    assert {p.id for p in pairs} == {"pair/case-0", "pair/case-1"}
    assert {p.chosen[0].text for p in pairs} == {"No nodule."} and {p.weight for p in pairs} == {1.0}
    results = analyze(collect(study, [tmp_path / "a.json"]))
    assert results["preference"]["pairs"][0]["wins"] == 2 and "sides of undecided pairs" in " ".join(
        results["notes"]
    )


def rates(public, scores):
    """An answer that rates every text by a word in it."""

    def answer(reading):
        if reading.kind == "guess":
            return {}
        found = [scores["effusion lies" in "".join(text)] for text in reading.texts]
        return {"ratings": {name: [value[name] for value in found] for name in public.questions.criteria}}

    return answer


def test_ratings_alone_make_pairs_with_both_ratings_where_the_gap_is_wide_enough(design, answer_file, tmp_path):
    study = design(preference=0, criteria=("correctness", "completeness"), guesses=0, purpose="training")
    public = read_public(study)
    good, bad = {"correctness": 5, "completeness": 3}, {"correctness": 3, "completeness": 3}
    tied, open_ = {"correctness": 3, "completeness": 4}, {"correctness": 5, "completeness": None}
    anna = answer_file(tmp_path / "a.json", public, "anna", rates(public, {True: good, False: bad}))
    import_answers(study, [anna], tmp_path / "one")
    pairs = read_records(tmp_path / "one/preferences", Preference)
    assert len(pairs) == 6 and {p.provenance["arms"][0] for p in pairs} == {"dpo_quagga"}
    assert {(p.margin, p.chosen_rating, p.rejected_rating, p.split) for p in pairs} == {(1.0, 4.0, 3.0, "train")}
    ben = answer_file(tmp_path / "b.json", public, "ben", rates(public, {True: bad, False: tied}))
    import_answers(study, [anna, ben], tmp_path / "two")  # mean of +1 and -0.5: a quarter of a point
    counts = json.loads((tmp_path / "two/preferences/manifest.json").read_text())["counts"]
    assert read_records(tmp_path / "two/preferences", Preference) == [] and counts["ties"] == 6
    import_answers(study, [anna, ben], tmp_path / "near", rating_gap=0.2)
    assert {p.margin for p in read_records(tmp_path / "near/preferences", Preference)} == {0.25}
    half = answer_file(tmp_path / "c.json", public, "ben", rates(public, {True: open_, False: bad}))
    import_answers(study, [half], tmp_path / "half")
    counts = json.loads((tmp_path / "half/preferences/manifest.json").read_text())["counts"]
    assert counts["unanswered"] == counts["comparisons"] == 6 and "ties" not in counts
    with pytest.raises(ValueError, match="rating_gap is -1"):
        import_answers(study, [half], tmp_path / "no", rating_gap=-1)


def test_texts_rated_alone_by_different_readers_make_pairs_of_their_means(design, answer_file, tmp_path):
    study = design(texts_per_item=1, preference=0, criteria=("correctness",), guesses=0)
    public = read_public(study)
    scores = {True: {"correctness": 5}, False: {"correctness": 2}}
    files = [answer_file(tmp_path / f"{r}.json", public, r, rates(public, scores)) for r in ("anna", "ben")]
    import_answers(study, files, tmp_path / "out")
    pairs = read_records(tmp_path / "out/preferences", Preference)
    read = {(row.case_id, row.item) for row in read_unblinded(tmp_path / "out")}
    both = [
        case for case, n in Counter(case for case, _ in read).items() if n == 2
    ]  # arms that the case was read in
    assert {p.case_id for p in pairs} == set(both) and both and {p.margin for p in pairs} == {3.0}
    assert all(p.chosen_rating == 5 and "effusion lies" in p.chosen[0].text for p in pairs)
    assert {len(p.judge_ids) for p in pairs} == {2}


def redcap_export(study, reader, answer):
    """What a REDCap project of the study's dictionary gives back in `raw` form, with its own extra column."""
    public = read_public(study)
    fields = [row["Variable / Field Name"] for row in csv.DictReader(io.StringIO(data_dictionary(public)))]
    records = list(csv.DictReader(io.StringIO(import_records(public, [public.form(reader)]))))
    shown = {r.id: r for r in public.form(reader).readings}
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*fields, "reading_complete"], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, **answer(shown[record["record_id"]]), "reading_complete": "2"})
    return buffer.getvalue()


def test_what_redcap_gives_back_says_the_same_as_the_page(design, answer_file, tmp_path):
    study = design(criteria=("correctness",), mark_errors=True)
    public = read_public(study)

    def is_left(reading):
        return "effusion lies" in "".join(reading.texts[0])

    def on_the_page(reading):
        left = is_left(reading)
        if reading.kind == "guess":
            return {"guess": "left" if left else "right", "comment": 'said "yes", twice'}
        marks = [[0] * len(text) for text in reading.texts]
        marks[0][0], marks[1][-1] = 1, 2
        return {"preference": 1 if left else 3, "ratings": {"correctness": [5, 2] if left else [2, 5]},
                "errors": marks, "checked": True}  # fmt: skip

    def in_redcap(reading):
        left = is_left(reading)
        if reading.kind == "guess":
            return {"guess": "1" if left else "2", "comment": 'said "yes", twice'}
        one, other = ("5", "2") if left else ("2", "5")
        return {"preference": "1" if left else "3", "correctness_left": one, "correctness_right": other,
                "minor_left": "1", "major_right": str(len(reading.texts[1])), "checked": "1"}  # fmt: skip

    page = answer_file(tmp_path / "anna.json", public, "anna", on_the_page)
    export = tmp_path / "DATA_2026.csv"
    export.write_text(redcap_export(study, "anna", in_redcap))
    found = import_answers(study, [export], tmp_path / "read")
    assert not found.problems and not found.missing and found.counts["answered"] == len(public.forms[0].readings)
    both = import_answers(study, [page, export], tmp_path / "both")
    assert both.counts["equal_copies"] == len(public.forms[0].readings)
    assert len(read_records(tmp_path / "read/preferences", Preference)) == 6


def test_a_file_saved_on_the_way_and_the_last_one_are_one_answer_and_open_questions_are_named(
    design, answer_file, tmp_path
):
    study = design(criteria=("correctness",), mark_errors=True, guesses=0)
    public = read_public(study)
    first, second, third, *_ = (r.id for r in public.form("anna").readings)

    def done(reading):
        whole = {"preference": 1, "ratings": {"correctness": [4, 2]}, "checked": True}
        if reading.id == second:
            return {**whole, "ratings": {"correctness": [4, None]}}
        return {"comment": "the film is too dark"} if reading.id == third else whole

    def on_the_way(reading):
        return done(reading) if reading.id != first else {"preference": None, "answered": None}

    way = answer_file(tmp_path / "way.json", public, "anna", on_the_way)
    last = answer_file(tmp_path / "last.json", public, "anna", done)
    found = import_answers(study, [last, way], tmp_path / "out")
    assert found.counts["open_when_saved"] == 1 and found.counts["equal_copies"] == 5 and not found.problems
    assert found.incomplete == {"anna": {second: ["correctness_right"]}} and found.missing == {"anna": [third]}
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["incomplete"] == found.incomplete and report["counts"]["answered"] == 5
    row = next(r for r in read_unblinded(tmp_path / "out") if r.reading == third)
    assert row.answer.comment == "the film is too dark" and not row.answered  # said, and no answer
    assert "5 were answered (1 of them in part) and 1 not" in methods_text(analyze(found))
    blank = answer_file(tmp_path / "blank.json", public, "anna", lambda reading: {"seconds": 2.0})
    with pytest.raises(DataError, match="no file has an answer"):
        import_answers(study, [blank], tmp_path / "none")
    with pytest.raises(ValueError, match="lies within the study folder"):
        import_answers(study, [last], study / "public" / "read")


def test_a_comment_in_a_table_is_kept_where_nothing_else_was_filled_in(design, tmp_path):
    study = design(guesses=0)
    export_study(study, tmp_path / "out", formats=("csv",))
    rows = list(csv.DictReader((tmp_path / "out/reader-anna/study.csv").open(encoding="utf-8-sig", newline="")))
    rows[0]["preference"], rows[1]["comment"] = "1", "no film"
    with open(tmp_path / "filled.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = collect(study, [tmp_path / "filled.csv"])
    assert [r.answer.comment for r in found.rows if r.answer] == ["", "no film"]
    assert found.counts["answered"] == 1 and found.counts["missing"] == 5


def test_the_private_part_may_be_kept_elsewhere_as_a_whole(design, prefer, tmp_path):
    study = design()
    file = prefer(tmp_path / "a.json", study, "anna")
    (study / "private").rename(tmp_path / "safe")
    with pytest.raises(DataError, match="--key"):
        import_answers(study, [file], tmp_path / "out")
    with pytest.raises(DataError, match="Put the key back for the design"):
        design("later", earlier=[study], purpose="training")
    import_answers(study, [file], tmp_path / "out", key=tmp_path / "safe" / "key.json")
    assert len(read_records(tmp_path / "out/preferences", Preference)) == 6
    (tmp_path / "safe" / "cases").rename(tmp_path / "lost")
    with pytest.raises(DataError, match="cases are missing"):
        import_answers(study, [file], tmp_path / "again", key=tmp_path / "safe" / "key.json")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("preference", True, "True is no number"),
        ("preference", 0, "expected 1 to 3"),
        ("ratings", {"correctness": [True, 2]}, "True is no number"),
        ("ratings", {"correctness": [2]}, "has 1 values"),
        ("ratings", {"brevity": [2, 3]}, "rating 'brevity'"),
        ("errors", [[1], [0]], "other sentences than those shown"),
        ("seconds", float("inf"), "finite"),
        ("guess", "yes", "guess is 'yes', expected left"),
    ],
)
def test_an_answer_that_the_form_cannot_give_is_refused_by_name(design, prefer, tmp_path, field, value, says):
    study = design(criteria=("correctness",), mark_errors=True)
    file = prefer(tmp_path / "a.json", study, "anna")
    raw = json.loads(file.read_text())
    raw["answers"][0][field] = value
    file.write_text(json.dumps(raw))
    with pytest.raises(DataError, match=says):
        import_answers(study, [file], tmp_path / "out")


def test_of_two_versions_the_one_answered_later_is_used_in_whatever_order_they_come(design, answer_file, tmp_path):
    study = design(guesses=0)
    public = read_public(study)
    late, early = (
        answer_file(
            tmp_path / f"{n}.json", public, "anna", lambda r, n=n: {"preference": n, "answered": f"2026-0{n}"}
        )
        for n in (3, 1)
    )
    for files in ([late, early], [early, late]):
        found = collect(study, files, on_bad="skip")
        assert {row.answer.preference for row in found.rows if row.answer} == {3}
        assert found.counts["set_aside:two_versions"] == 6
