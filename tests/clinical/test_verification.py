import pytest

from vlmalign.clinical import parse_text, render_report, verify
from vlmalign.clinical.paths import valid_paths

TRUTH = {"leukocyte": "absent", "crowding": "sparse", "platelets": "many", "impression": "platelet_field"}


def check(logic, text, answers=TRUTH, **options):
    return verify(logic, parse_text(logic, text), answers, **options)


def test_each_concept_lands_in_exactly_one_group(smear):
    found = check(
        smear,
        "No leukocyte is seen. The red cells are crowded. The stain of the field is pale. "
        "The impression cannot be assessed. Unchanged from the previous smear. Blue sky.",
    )
    assert found.correct == ("leukocyte",)
    assert found.wrong == ("crowding",)
    assert found.unverified == ("stain",)
    assert found.omitted == ("platelets",)
    assert found.hedged == ("impression",)
    assert found.unsupported == ("comparison",)
    assert found.unrecognised == 1
    assert found.consistent and found.parsed


@pytest.mark.parametrize("text", ["", "lorem ipsum dolor", "The sample was kept at room temperature.", "no no no"])
def test_gibberish_scores_nothing(smear, text):
    found = check(smear, text)
    assert not found.parsed and not found.consistent
    assert found.correct == found.wrong == found.unverified == found.hedged == ()
    assert found.omitted == tuple(TRUTH)
    # and two texts that cannot be read do not equal each other
    assert verify(smear, parse_text(smear, text), parse_text(smear, text).answers).correct == ()


def test_unsupported_statements_alone_are_not_parsed(smear):
    found = check(smear, "Unchanged from the previous smear.")
    assert found.unsupported == ("comparison",) and not found.parsed and found.unrecognised == 0


def test_contradictory_claims_are_wrong_where_the_truth_is_known_and_never_consistent(smear):
    found = check(smear, "No platelets are seen. Many platelets are seen. The stain is dark. The stain is pale.")
    assert found.wrong == ("platelets",)
    assert found.unverified == ("stain",)
    assert not found.consistent


def test_hedging_everything_is_neither_correct_nor_consistent(smear):
    found = check(smear, " ".join(f"The {c.name} cannot be assessed." for c in smear.concepts.values()))
    assert found.hedged == smear.order and found.parsed
    assert found.correct == found.wrong == found.omitted == () and not found.consistent


def test_path_inconsistency_is_seen_even_when_the_truth_is_unknown(smear):
    assert not check(smear, "No leukocyte is seen. The leukocyte has a segmented nucleus.", {}).consistent
    assert check(smear, "A leukocyte is seen in the field. The leukocyte has a segmented nucleus.", {}).consistent


def test_only_the_wanted_concepts_are_compared_but_the_whole_text_is_consistent_or_not(smear):
    text = "A leukocyte is seen. The kind of leukocyte is not applicable. Many platelets are seen."
    found = check(smear, text, concepts=["platelets", "crowding"])
    assert found.correct == ("platelets",) and found.omitted == ("crowding",)
    assert found.wrong == found.unverified == () and not found.consistent


def test_truth_in_a_reserved_state_counts_as_unknown(smear):
    found = check(smear, "No platelets are seen.", {"platelets": "uncertain", "stain": "not_assessed"})
    assert found.unverified == ("platelets",) and found.omitted == ()


def test_true_reports_of_every_path_are_wholly_correct(smear):
    for seed, path in enumerate(valid_paths(smear)):
        found = check(smear, render_report(smear, path, seed=seed), path)
        assert found.correct == smear.order
        assert found.wrong == found.unverified == found.omitted == found.hedged == () and found.consistent


def test_unknown_concepts_are_refused(smear):
    with pytest.raises(ValueError, match="'heart' is not in peripheral_smear"):
        check(smear, "No platelets are seen.", {"heart": "large"})
    with pytest.raises(ValueError, match="'heart' is not in peripheral_smear"):
        check(smear, "No platelets are seen.", concepts=["heart"])
