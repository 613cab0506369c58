import pytest

from vlmalign.clinical import list_logics, load_logic, parse_text, render_report
from vlmalign.clinical.critique import JudgedClaim, check_critique, parse_critique, write_critique

TRUTH = {"leukocyte": "absent", "platelets": "few", "crowding": "crowded", "focus": "uncertain"}
REPORT = "A leukocyte is seen. Two platelets are seen. The field is in sharp focus."


@pytest.fixture(scope="module")
def smear():
    return load_logic("peripheral_smear")


def test_a_critique_judges_every_claim_and_names_what_is_left_out(smear):
    assert write_critique(smear, parse_text(smear, REPORT), TRUTH) == (
        "Claim: focus = sharp. The image shows: unknown. Unverified. "
        "Claim: leukocyte = present. The image shows: absent. Wrong. "
        "Omitted: crowding. The image shows: crowded. "
        "Claim: platelets = few. The image shows: few. Right."
    )


def test_only_what_was_asked_can_be_left_out(smear):
    assert "Omitted" not in write_critique(smear, parse_text(smear, REPORT), TRUTH, asked=["leukocyte"])


def test_an_answer_without_claims_has_a_critique_too(smear):
    critique = write_critique(smear, parse_text(smear, "Lovely weather."), {"leukocyte": "absent"})
    assert critique == "Claim: none. Omitted: leukocyte. The image shows: absent."


@pytest.mark.parametrize("name", list_logics())
def test_every_value_of_every_logic_is_read_back_from_its_critique(name):
    """Each value claimed while another one is true, for every concept at once."""
    logic = load_logic(name)
    for turn in range(max(len(concept.values) for concept in logic.concepts.values())):
        claimed, true = {}, {}
        for concept in logic.order:
            values = list(logic.concepts[concept].values)
            claimed[concept], true[concept] = values[turn % len(values)], values[(turn // 2) % len(values)]
        answer = parse_text(logic, render_report(logic, claimed, seed=turn))
        text = write_critique(logic, answer, true)
        found = parse_critique(logic, text)
        assert found.unrecognised == ()
        assert {c.concept: (c.claimed, c.shown) for c in found.judged} == {
            concept: (answer.answers.get(concept), true[concept]) for concept in logic.order
        }
        checked = check_critique(logic, found, answer, true)
        assert (checked.share, checked.missed, checked.unverified) == (1.0, (), ())


@pytest.mark.parametrize(
    ("statement", "group"),
    [
        ("Claim: leukocyte = present. The image shows: absent. Wrong.", "agree"),
        ("Claim: leukocyte = present. The image shows: present. Right.", "disagree"),  # not what is known
        ("Claim: leukocyte = absent. The image shows: absent. Right.", "disagree"),  # not what the answer says
        ("Claim: leukocyte = present. The image shows: absent. Right.", "disagree"),  # does not follow
        ("Omitted: leukocyte. The image shows: absent.", "disagree"),  # it is not omitted
        ("Omitted: crowding. The image shows: crowded.", "agree"),
        ("Claim: leukocyte = present. The image shows: unknown. Unverified.", "disagree"),  # it is known
        ("Claim: focus = sharp. The image shows: blurred. Wrong.", "unverified"),
    ],
)
def test_a_statement_agrees_only_if_claim_image_and_verdict_are_right(smear, statement, group):
    checked = check_critique(smear, parse_critique(smear, statement), parse_text(smear, REPORT), TRUTH)
    sizes = {name: len(getattr(checked, name)) for name in ("agree", "disagree", "unverified")}
    assert sizes == {name: int(name == group) for name in sizes}


def test_claims_that_a_critique_passes_over_and_sentences_that_cannot_be_read_are_told(smear):
    text = "Nice report. Claim: leukocyte = many. The image shows: absent. Wrong. Unsupported: poetry."
    found = parse_critique(smear, text)
    assert found.judged == () and len(found.unrecognised) == 3
    checked = check_critique(smear, found, parse_text(smear, REPORT), TRUTH)
    assert checked.missed == ("focus", "leukocyte", "platelets")
    assert (checked.share, checked.unrecognised) == (None, 3)


def test_a_hedge_is_neither_right_nor_wrong(smear):
    critique = write_critique(smear, parse_text(smear, "It is uncertain whether a leukocyte is present."), TRUTH)
    assert parse_critique(smear, critique).judged[0] == JudgedClaim("leukocyte", "uncertain", "absent", "hedged")


def test_what_cannot_be_checked_is_not_in_the_share_that_agrees(smear):
    text = "Omitted: crowding. The image shows: crowded. Claim: focus = sharp. The image shows: blurred. Wrong."
    checked = check_critique(smear, parse_critique(smear, text), parse_text(smear, REPORT), TRUTH)
    assert (len(checked.agree), len(checked.unverified), checked.share) == (1, 1, 1.0)
