import re

import pytest

from data_builders.report_noise import HIDDEN_STATEMENTS, Noise, noisy_report, write_noisy_reports
from vlmalign.clinical import load_logic, parse_text
from vlmalign.records import Case, read_manifest, read_records

NONE = {"omit": 0, "wrong": 0, "unsupported": {}, "hidden": {}}


def test_without_noise_the_report_says_the_truth_and_the_findings_are_gone(world, logic, full):
    cases = world.cases("cases", {"a": full})
    out = write_noisy_reports(cases, world.root / "out", logic=logic, seed=1, **NONE)
    (case,) = read_records(out, Case)
    assert parse_text(logic, case.reference.text).answers == full
    assert case.reference.findings == ()
    assert "hand@1" not in (out / "records.jsonl").read_text()


def test_an_absent_leukocyte_implies_that_its_kind_does_not_apply(world, logic):
    cases = world.cases("cases", {"a": {"leukocyte": "absent"}})
    (case,) = read_records(write_noisy_reports(cases, world.root / "o", logic=logic, seed=1, **NONE), Case)
    assert parse_text(logic, case.reference.text).answers["leukocyte_kind"] == "not_applicable"
    bare = write_noisy_reports(cases, world.root / "bare", logic=logic, seed=1, implied=False, **NONE)
    assert "leukocyte_kind" not in parse_text(logic, read_records(bare, Case)[0].reference.text).answers


def test_rates_are_met_and_counts_agree_with_the_texts(logic, full):
    noise = Noise()
    n = 2000
    totals = {}
    seen = {"omitted": 0, "wrong": 0}
    for seed in range(n):
        text, counts = noisy_report(logic, full, noise, seed=seed)
        said = parse_text(logic, text).answers
        seen["omitted"] += sum(c not in said for c in full)
        seen["wrong"] += sum(c in said and said[c] != v for c, v in full.items())
        for name, k in counts.items():
            totals[name] = totals.get(name, 0) + k
    assert seen == {"omitted": totals["omitted"], "wrong": totals["wrong"]}
    claims = totals["claims"]
    assert claims == 7 * n
    assert totals["omitted"] / claims == pytest.approx(0.10, abs=0.01)
    assert totals["wrong"] / (claims - totals["omitted"]) == pytest.approx(0.06, abs=0.01)
    assert totals["unsupported_comparison"] / n == pytest.approx(0.35, abs=0.04)
    assert totals["unsupported_history"] / n == pytest.approx(0.25, abs=0.04)
    assert totals["hidden_handling"] / n == pytest.approx(0.20, abs=0.04)


def test_a_wrong_claim_does_not_change_the_impression(logic, full):
    only_wrong = Noise(omit=0, wrong=0.5, unsupported={}, hidden={})
    answers = [parse_text(logic, noisy_report(logic, full, only_wrong, seed=s)[0]).answers for s in range(60)]
    true_impression = [a for a in answers if a["impression"] == full["impression"]]
    assert any(a["leukocyte"] != full["leukocyte"] for a in true_impression)


def test_no_part_of_the_pipeline_recognises_a_hidden_statement():
    logic = load_logic("peripheral_smear")
    for statement in HIDDEN_STATEMENTS["handling"]:
        parsed = parse_text(logic, statement)
        assert parsed.unrecognised == (statement,), statement
    assert not set(HIDDEN_STATEMENTS) & set(logic.unsupported)


def test_statements_stand_at_different_places(logic, full):
    noise = Noise(omit=0, wrong=0, unsupported={"comparison": 1.0}, hidden={})
    places = {
        parse_text(logic, noisy_report(logic, full, noise, seed=s)[0]).unsupported[0].sentence for s in range(60)
    }
    assert {0, 7} <= places


def test_cases_without_findings_are_counted_and_left_out(world, logic, full):
    cases = world.cases("cases", {"a": full, "b": {}})
    out = write_noisy_reports(cases, world.root / "out", logic=logic, seed=1)
    assert read_manifest(out).counts["cases_without_findings"] == 1
    assert [c.id for c in read_records(out, Case)] == ["a"]


def test_a_report_of_which_nothing_is_left_is_counted_and_left_out(world, logic, full):
    cases = world.cases("cases", {"a": full})
    out = write_noisy_reports(cases, world.root / "o", logic=logic, seed=1, omit=1, unsupported={}, hidden={})
    assert read_records(out, Case) == []
    assert read_manifest(out).counts["empty_reports"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"omit": 1.5}, "omit is 1.5"),
        ({"unsupported": {"weather": 0.1}}, "weather"),
        ({"hidden": {"x": 0.1}}, "'x'"),
    ],
)
def test_bad_rates_and_kinds_are_refused(world, logic, full, options, message):
    cases = world.cases("cases", {"a": full})
    with pytest.raises(ValueError, match=re.escape(message)):
        write_noisy_reports(cases, world.root / "out", logic=logic, seed=1, **options)
