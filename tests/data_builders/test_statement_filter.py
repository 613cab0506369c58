import pytest

from data_builders.report_noise import HIDDEN_STATEMENTS
from data_builders.statement_filter import filter_unsupported
from vlmalign.records import Case, read_manifest, read_records
from vlmalign.records.validation import validate_folder


def test_known_kinds_are_cut_and_all_else_stays(world, logic, full):
    report = world.report(full)
    hidden = HIDDEN_STATEMENTS["handling"][0]
    first, rest = report.split(". ", 1)
    noisy = f"There is a history of fever. {first}. Unchanged from the previous smear. {rest} {hidden}"
    cases = world.cases("cases", {"a": full}, texts={"a": noisy}, findings=False)
    out = filter_unsupported(cases, world.root / "out", logic=logic)
    (case,) = read_records(out, Case)
    assert case.reference.text == f"{report} {hidden}"
    counts = read_manifest(out).counts
    assert (counts["cut_comparison"], counts["cut_history"], counts["sentences"]) == (1, 1, 10)
    assert not validate_folder(out)


def test_only_the_named_kinds_are_cut(world, logic, full):
    text = "There is a history of fever. Unchanged from the previous smear."
    cases = world.cases("cases", {"a": full}, texts={"a": text}, findings=False)
    out = filter_unsupported(cases, world.root / "out", logic=logic, kinds=["history"])
    assert read_records(out, Case)[0].reference.text == "Unchanged from the previous smear."
    with pytest.raises(ValueError, match="handling"):
        filter_unsupported(cases, world.root / "other", logic=logic, kinds=["handling"])


def test_missing_and_emptied_reports_are_counted_and_left_out(world, logic, full):
    texts = {"a": "Unchanged from the previous smear.", "b": None}
    cases = world.cases("cases", {"a": full, "b": full}, texts=texts, findings=False)
    out = filter_unsupported(cases, world.root / "out", logic=logic)
    counts = read_manifest(out).counts
    assert (counts["records"], counts["empty_reports"], counts["cases_without_report"]) == (0, 1, 1)
