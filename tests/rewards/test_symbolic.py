import math
from importlib import resources

import pytest

from vlmalign.clinical import load_logic, question_text
from vlmalign.rewards import ClaimWeights, SymbolicReward

LEUKOCYTE, NONE = "A leukocyte is present.", "No leukocyte is seen."
STAIN = "The stain of the field is pale."


@pytest.fixture
def known(make):
    return make.case([make.finding("leukocyte", "present"), make.finding("stain", "pale")])


def score(make, case, *texts, **settings):
    candidates = [make.candidate(text, n=n) for n, text in enumerate(texts)]
    return SymbolicReward("peripheral_smear", **settings).score([case] * len(texts), candidates)


def test_all_right_and_nothing_more_is_one_and_each_fault_costs(make, known):
    concepts = ["leukocyte", "stain"]
    output = score(
        make, known,
        f"{LEUKOCYTE} {STAIN}",
        f"{NONE} {STAIN}",
        LEUKOCYTE,
        f"{LEUKOCYTE} {STAIN} Unchanged from the previous smear.",
        concepts=concepts,
    )  # fmt: skip
    assert output.mean == pytest.approx((1.0, 0.0, (1 - 0.25) / 2, (2 - 0.5) / 2))
    assert output.components["wrong"] == (0.0, 1.0, 0.0, 0.0)
    assert output.components["unsupported"] == (0.0, 0.0, 0.0, 1.0)


def test_hedging_everything_else_gains_nothing(make, known):
    settings = {"concepts": ["leukocyte", "stain"], "weights": {"omitted": 0.0}}
    sure = score(make, known, LEUKOCYTE, **settings).mean[0]
    assert sure == pytest.approx(0.5)


def test_a_text_that_contradicts_itself_is_wrong_and_inconsistent(make, known):
    output = score(make, known, f"{STAIN} {LEUKOCYTE} {NONE}", concepts=["leukocyte", "stain"])
    assert output.components["consistent"] == (0.0,)
    assert output.mean[0] == pytest.approx((1 - 1) / 2 - 0.5)


@pytest.mark.parametrize(
    ("findings", "text", "reason"),
    [
        (("stain", "pale"), "Lovely weather.", "no claim parsed"),
        (None, LEUKOCYTE, "the case has no reference"),
        (("stain", "pale"), LEUKOCYTE, "no claim about a known concept"),
    ],
)
def test_what_cannot_be_checked_is_invalid_and_never_a_middling_number(make, findings, text, reason):
    case = make.case([make.finding(*findings)] if findings else ())
    output = score(make, case, text)
    assert output.valid == (False,) and output.reasons == (reason,) and math.isnan(output.mean[0])


def test_a_reference_text_counts_where_findings_say_nothing(make):
    case = make.case([make.finding("stain", "pale")], text=f"{NONE} The stain of the field is dark.")
    output = score(make, case, f"{NONE} {STAIN}", concepts=["leukocyte", "stain"])
    assert output.mean == (1.0,)


def test_answers_of_a_conversation_are_read_with_their_questions(make, known):
    logic = load_logic("peripheral_smear")
    first, second = (question_text(logic, concept, seed=0) for concept in ("leukocyte", "stain"))
    candidate = make.candidate("Yes.", second, "Pale.", extra={"first_question": first})
    output = SymbolicReward("peripheral_smear", concepts=["leukocyte", "stain"]).score([known], [candidate])
    assert output.components["correct"] == (2.0,) and output.mean == (1.0,)


def test_another_setting_is_another_judge():
    names = {SymbolicReward("peripheral_smear", weights=w).name for w in (None, {"wrong": 2.0}, {"omitted": 0.0})}
    assert len(names) == 3


def test_bad_weights_are_refused():
    with pytest.raises(ValueError, match="weights has no 'rong'"):
        SymbolicReward("peripheral_smear", weights={"rong": 1.0})
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="a penalty is subtracted"):
            ClaimWeights(wrong=value)


def test_the_sentences_scores_add_up_to_the_answers_score(make, known):
    texts = [
        f"{LEUKOCYTE} {STAIN}",
        f"{NONE} {STAIN} Unchanged from the previous smear.",
        LEUKOCYTE,
        f"Well. {STAIN} {LEUKOCYTE} {NONE}",
    ]
    output = score(make, known, *texts, concepts=["leukocyte", "stain"])
    assert [sum(value for _, value in steps) for steps in output.steps] == pytest.approx(output.mean)
    assert output.steps[0] == ((len(LEUKOCYTE), 0.5), (len(texts[0]), 0.5))
    assert [end for end, _ in output.steps[1]] == [len(NONE), len(f"{NONE} {STAIN}"), len(texts[1])]
    assert [value for _, value in output.steps[1]] == pytest.approx([-0.5, 0.5, -0.25])


def test_what_earlier_turns_of_the_prompt_say_is_counted_at_the_first_sentence(make, known):
    from vlmalign.records import assistant, user

    earlier = (*known.messages, assistant(LEUKOCYTE), user("And its stain?"))
    case = known.model_copy(update={"messages": earlier})
    output = score(make, case, STAIN, concepts=["leukocyte", "stain"])
    assert output.steps == (((len(STAIN), 1.0),),) and output.mean == (1.0,)


def test_a_logic_that_was_edited_under_its_old_name_is_another_judge(tmp_path):
    """Else judgements that were made by the old rules would be taken for those of the new ones."""
    original = resources.files("vlmalign.clinical").joinpath("logic/peripheral_smear.yaml").read_text()
    names = []
    for name, text in (("a", original), ("b", original.replace("title:", "title: Another", 1))):
        (tmp_path / f"{name}.yaml").write_text(text)
        names.append(SymbolicReward(str(tmp_path / f"{name}.yaml")).name)
    assert names[0] == SymbolicReward("peripheral_smear").name != names[1]


def test_the_policy_is_part_of_the_rewards_name():
    names = [SymbolicReward(logic).name for logic in ("bone_marrow", "bone_marrow@who", "bone_marrow@dr_llava")]
    assert names[0] == names[1] != names[2]
