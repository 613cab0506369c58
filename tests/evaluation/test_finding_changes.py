import pytest

from vlmalign.evaluation.finding_changes import claim_state, finding_changes, worse_in_words
from vlmalign.evaluation.run_items import RunItem


def pairs(rows, concept="platelets"):
    """Rows of truth, said after, said before; one cluster each; None is not known, or not said."""

    def item(k, true, said):
        return RunItem((k,), f"c{k}", f"g{k}", f"r{k}", {}, {concept: said} if said else {},
                       {concept: true} if true else {})  # fmt: skip

    return [(item(k, true, after), item(k, true, before)) for k, (true, after, before) in enumerate(rows)]


ROWS = [
    *[("few", "none", "few")] * 8,  # found before, denied after
    *[("few", "many", "none")] * 2,  # there, of another degree: found, but wrong
    *[("none", None, "few")] * 4,  # silence is no false alarm
    *[("none", "few", "none")] * 1,
    (None, "few", None),
]  # fmt: skip


def test_sensitivity_specificity_and_states_by_hand(logic):
    found = finding_changes(pairs(ROWS), logic)
    each = found["findings"]["platelets"]
    assert (each["known"], each["present"], each["absent"]) == (15, 10, 5)
    assert each["unverified"] == {"after": 1, "before": 0}
    figures = {name: (each[name]["before"]["mean"], each[name]["after"]["mean"]) for name in each
               if isinstance(each[name], dict) and "difference" in each[name]}  # fmt: skip
    assert figures["sensitivity"] == (0.8, 0.2) and figures["specificity"] == (0.2, 0.8)
    assert figures["right"] == pytest.approx((9 / 15, 0.0)) and figures["wrong"] == pytest.approx(
        (2 / 15, 10 / 15)
    )
    assert figures["missing"] == pytest.approx((0.0, 4 / 15)) and figures["added"] == pytest.approx(
        (4 / 15, 1 / 15)
    )
    assert sum(figures[state][1] for state in ("right", "wrong", "missing", "added")) == pytest.approx(1.0)
    # 8 lost and 2 gained among those that have it: 2 * P(X <= 2 of 10)
    assert each["sensitivity"]["p"] == pytest.approx(2 * 56 / 1024)
    assert each["sensitivity"]["difference"]["n"] == 10


def test_what_got_worse_is_named_after_holm_and_hints_apart(logic):
    found = finding_changes(pairs(ROWS), logic)
    assert found["tests"] == 3
    assert found["findings"]["platelets"]["right"]["p_holm"] == pytest.approx(3 * 2 / 2**9)  # 9 lost, none gained
    assert found["worse"] == [["platelets", "right"]] and found["better"] == []
    assert worse_in_words(found).startswith("Worse after Holm over 3 tests: platelets (right).")
    swapped = finding_changes([(b, a) for a, b in pairs(ROWS)], logic)
    assert swapped["better"] == [["platelets", "right"]] and not swapped["worse"]
    assert "Nothing is worse" in worse_in_words(swapped)


def test_a_concept_that_is_no_finding_has_no_sensitivity_and_nothing_added(logic):
    each = finding_changes(pairs([("pale", "dark", "pale")] * 3, "stain"), logic)["findings"]["stain"]
    assert each["sensitivity"] is None and each["present"] is None and "added" not in each
    assert each["wrong"]["after"]["mean"] == 1.0


def test_a_finding_that_nobody_has_is_told_as_such_and_not_as_zero(logic):
    each = finding_changes(pairs([("none", "none", "none")] * 3), logic)["findings"]["platelets"]
    assert each["present"] == 0 and each["sensitivity"]["difference"]["mean"] is None
    assert each["sensitivity"]["p"] is None and each["sensitivity"]["p_holm"] is None


def test_hedges_and_contradictions_are_missing():
    assert {claim_state("few", said) for said in ("uncertain", "not_assessed", "contradictory")} == {"missing"}


def test_only_concepts_of_more_than_two_values_have_a_table(logic):
    both = [(RunItem((0,), "c", "g", "r", {}, {"leukocyte": "absent", "platelets": "few"},
                     {"leukocyte": "present", "platelets": "none"}),) * 2]  # fmt: skip
    tables = finding_changes(both, logic)["tables"]
    assert list(tables) == ["platelets"]
    assert (tables["platelets"]["after"]["rows"], tables["platelets"]["after"]["columns"]) == (["none"], ["few"])


def test_a_concept_of_which_nothing_is_known_anywhere_is_named(logic):
    found = finding_changes(pairs([(None, "few", "few")]), logic)
    assert found["findings"] == {} and found["unknown_only"] == ["platelets"] and found["tests"] == 0
    assert found["all"]["right"]["after"]["mean"] is None


def test_what_was_asked_on_one_side_only_is_compared_with_nothing(logic):
    both = pairs([("few", "few", "few"), ("few", "few", "few")])
    asked_once = [both[0], (both[1][0], RunItem((1,), "c1", "g1", "r1", {}))]
    found = finding_changes(asked_once, logic)
    each = found["findings"]["platelets"]
    assert (each["known"], each["one_side_only"], each["right"]["before"]["mean"]) == (1, 1, 1.0)
    assert found["all"]["missing"]["before"]["n"] == 1
