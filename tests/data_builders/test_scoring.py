import pytest

from data_builders.reading import read_answer
from data_builders.scoring import ScoreWeights, score_reading
from vlmalign.records import assistant, user

KNOWN = {"leukocyte": "absent", "crowding": "sparse", "platelets": "few", "impression": "platelet_field"}


def score(logic, text, known=KNOWN, **weights):
    reading = read_answer(logic, (user("Describe.", images=1),), (assistant(text),))
    return score_reading(logic, reading, known, weights=ScoreWeights(**weights))


def test_two_right_one_wrong_one_omitted_is_a_quarter(logic, world):
    text = world.report({"leukocyte": "absent", "crowding": "sparse", "platelets": "many"})
    got = score(logic, text)
    assert got.value == pytest.approx((2 - 1) / 4)
    assert (got.right, got.wrong, got.omitted) == (("leukocyte", "crowding"), ("platelets",), ("impression",))


def test_silence_lies_between_a_right_and_a_wrong_claim(logic, world):
    base = {"leukocyte": "absent"}
    right = score(logic, world.report({**base, "platelets": "few"})).value
    silent = score(logic, world.report(base)).value
    wrong = score(logic, world.report({**base, "platelets": "many"})).value
    assert right > silent > wrong


@pytest.mark.parametrize("text", ["xq zz blorp.", "", "....", "The sample was kept at room temperature."])
def test_gibberish_is_invalid_and_has_no_number(logic, text):
    got = score(logic, text or " ")
    assert (got.value, got.reason, got.valid) == (None, "nothing_parsed", False)
    assert not got.components


@pytest.mark.parametrize("text", ["No platelets are seen in the field. The stain of", "xq zz"])
def test_an_answer_that_the_token_limit_cut_is_invalid_whatever_it_says(logic, text):
    reading = read_answer(logic, (user("Describe.", images=1),), (assistant(text),))
    got = score_reading(logic, reading, {"platelets": "none"}, finished=False)
    assert (got.value, got.reason) == (None, "unfinished")


def test_gibberish_stays_invalid_when_nothing_is_known(logic):
    assert score(logic, "xq zz blorp.", {}).reason == "nothing_parsed"


def test_claims_about_nothing_known_are_invalid(logic, world):
    text = world.report({"focus": "sharp"})
    assert score(logic, text, {}).reason == "nothing_known"
    assert score(logic, text).reason == "nothing_checkable"
    assert score(logic, "The number of platelets is uncertain.").reason == "nothing_checkable"


def test_an_unsupported_statement_costs_its_weight_and_a_hidden_one_nothing(logic, world):
    plain = score(logic, world.report(KNOWN)).value
    assert plain == pytest.approx(1.0)
    known_kind = score(logic, world.report(KNOWN) + " Unchanged from the previous smear.").value
    hidden_kind = score(logic, world.report(KNOWN) + " The sample was kept at room temperature.").value
    assert known_kind == pytest.approx(plain - 0.25)
    assert hidden_kind == pytest.approx(plain)
    assert score(logic, "The sample was kept cold. " + world.report(KNOWN), unrecognised=0.1).value < plain


def test_an_impossible_path_costs_its_weight_though_nobody_checked_the_claim(logic, world):
    possible = score(logic, world.report({**KNOWN, "leukocyte_kind": "not_applicable"}))
    impossible = score(logic, world.report({**KNOWN, "leukocyte_kind": "segmented"}))
    assert possible.value - impossible.value == pytest.approx(0.5)
    assert impossible.unverified == {"leukocyte_kind": "segmented"}


def test_a_contradiction_is_wrong_and_inconsistent(logic):
    got = score(logic, "No platelets are seen in the field. Many platelets are seen in the field.")
    assert got.wrong == ("platelets",)
    assert got.components["consistency"] == -1


def test_length_costs_only_beyond_the_free_words(logic, world):
    text = world.report(KNOWN)
    words = len(text.split())
    assert score(logic, text, length=1.0, free_words=words).value == pytest.approx(1.0)
    assert score(logic, text, length=1.0, free_words=words // 2).value < 1.0


def test_a_conversation_owes_only_what_it_was_asked(logic):
    question = user("Does the field contain platelets?", images=1)
    reading = read_answer(logic, (question,), (assistant("No."),))
    assert reading.asked == ("platelets",)
    got = score_reading(logic, reading, KNOWN, concepts={"platelets"})
    assert got.value == -1.0


def test_an_unknown_weight_is_refused():
    with pytest.raises(ValueError, match="correctnes"):
        ScoreWeights(correctnes=2)
