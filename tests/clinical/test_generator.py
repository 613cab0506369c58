import pytest

from vlmalign.clinical import (
    parse_answer,
    parse_text,
    question_order,
    question_text,
    render_conversation,
    render_report,
    render_sentence,
    report_prompt,
)
from vlmalign.clinical.generator import render_answer

ANSWERS = {
    "focus": "sharp",
    "stain": "pale",
    "leukocyte": "absent",
    "leukocyte_kind": "not_applicable",
    "crowding": "moderate",
    "platelets": "few",
    "impression": "platelet_field",
}


def test_one_seed_always_gives_one_text_and_seeds_give_different_texts(smear):
    texts = [render_report(smear, ANSWERS, seed=seed) for seed in range(40)]
    assert texts == [render_report(smear, ANSWERS, seed=seed) for seed in range(40)]
    assert len(set(texts)) > 30
    assert render_report(smear, dict(reversed(ANSWERS.items())), seed=0) == texts[0]


def test_report_speaks_of_answered_concepts_only_in_canonical_order(smear):
    text = render_report(smear, {"platelets": "none", "focus": "blurred"}, seed=0)
    assert [claim.concept for claim in parse_text(smear, text).claims] == ["focus", "platelets"]


def test_train_and_test_banks_share_no_sentence(smear):
    for name, concept in smear.concepts.items():
        for value in concept.values:
            sides = [
                {render_sentence(smear, name, value, seed=s, bank=b) for s in range(60)} for b in ("train", "test")
            ]
            assert sides[0].isdisjoint(sides[1])
            assert (len(sides[0]), len(sides[1])) == (3, 2)  # every paraphrase is drawn


def test_train_language_is_small_enough_for_a_tiny_model(smear):
    texts = [s for q in smear.questions for s in q.train]
    for concept in smear.concepts.values():
        for value in concept.values.values():
            texts += value.sentences.train + (value.answers.train if value.answers else ())
    assert len({word.strip(".,?").lower() for text in texts for word in text.split()}) < 250
    assert max(len(text.split()) for text in texts) <= 12


def test_conversation_alternates_and_asks_in_the_order_that_is_wanted(smear):
    turns = render_conversation(smear, ANSWERS, seed=3, order="impression_first")
    assert [turn.role for turn in turns] == ["user", "assistant"] * 7
    assert turns[0].text == question_text(smear, "impression", seed=3)
    assert all(turn.n_images == 0 for turn in turns)
    assert question_order(smear, list(ANSWERS), order="impression_first")[1:] == smear.order[:-1]
    assert question_order(smear, list(ANSWERS), order="canonical") == smear.order


def test_shuffled_order_depends_on_the_seed_and_only_on_it(smear):
    orders = [question_order(smear, smear.order, order="shuffled", seed=seed) for seed in range(20)]
    assert orders == [
        question_order(smear, tuple(reversed(smear.order)), order="shuffled", seed=s) for s in range(20)
    ]
    assert len(set(orders)) > 15
    assert all(sorted(order) == sorted(smear.order) for order in orders)


def test_numbers_are_said_in_words_up_to_ten_and_in_the_singular_for_one(smear):
    assert render_sentence(smear, "platelets", "few", seed=0, number=1) == "One platelet is seen."
    assert render_sentence(smear, "platelets", "many", seed=0, number=10) == "Ten platelets are seen."
    assert render_sentence(smear, "platelets", "many", seed=0, number=11) == "11 platelets are seen."
    for number in range(1, 15):
        value = smear.concepts["platelets"].measurement.band(number)
        text = render_report(smear, {"platelets": value}, seed=number, numbers={"platelets": number}, bank="test")
        (claim,) = parse_text(smear, text).claims
        assert (claim.value, claim.number) == (value, number)


def test_number_zero_and_numbers_that_round_out_of_their_band_are_said_in_words(smear, chest):
    assert "platelets" in render_sentence(smear, "platelets", "none", seed=0, number=0)
    # 0.498 is said as 0.50, which would mean `present`
    assert render_sentence(chest, "cardiomegaly", "absent", seed=0, number=0.498) == "There is no cardiomegaly."
    said = render_sentence(chest, "cardiomegaly", "absent", seed=0, number=0.49)
    assert said == "The cardiothoracic ratio is 0.49."


def test_number_that_contradicts_the_value_is_refused(smear):
    with pytest.raises(ValueError, match="'few' does not go with the number 7, which means 'many'"):
        render_sentence(smear, "platelets", "few", seed=0, number=7)


def test_hedges_are_said_and_read_back(smear):
    for name in smear.order:
        for value in ("uncertain", "not_assessed"):
            for bank in ("train", "test"):
                text = render_answer(smear, name, value, seed=0, bank=bank)
                assert parse_text(smear, text).answers == {name: value}
                assert parse_answer(smear, name, text) == value


def test_wrong_requests_are_refused_with_a_remedy(smear):
    with pytest.raises(ValueError, match="stain = 'blue' is not in peripheral_smear: choose one of"):
        render_report(smear, {"stain": "blue"}, seed=0)
    with pytest.raises(ValueError, match="'contradictory', which no sentence says"):
        render_report(smear, {"stain": "contradictory"}, seed=0)
    with pytest.raises(ValueError, match="answers is empty"):
        render_report(smear, {}, seed=0)
    with pytest.raises(ValueError, match="order is 'random'"):
        render_conversation(smear, ANSWERS, seed=0, order="random")
    with pytest.raises(ValueError, match="bank is 'validation'"):
        report_prompt(smear, seed=0, bank="validation")
