from dataclasses import replace

import pytest

from vlmalign.clinical import load_logic
from vlmalign.evaluation.critique_gate import critique_agreement, critique_gate
from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs
from vlmalign.records import Judgement, Preference, assistant, user

N = 200


def pair(i):
    return Preference(
        id=f"p{i}", case_id=f"c{i}", group_id=f"g{i}", split="test", images=(), prompt=(user("What?"),),
        chosen=(assistant("No leukocyte is seen."),), rejected=(assistant("A leukocyte is seen."),),
        source="expert",
    )  # fmt: skip


def judged(judge, right, first=0, unscored=()):
    """N pairs of which those from `first` on are right, `right` of them."""
    pairs = []
    for i in range(N):
        score = None if i in unscored else float(first <= i < first + right)
        pairs.append(JudgedPair(pair(i), score, None if score is None else 0.5))
    return JudgedPairs(pairs, judge, judge.partition("@")[0], "0")


OWN, PLAIN, GIVEN = "critique@1", "scalar@1", "critique@2-given"


@pytest.mark.parametrize(
    ("own", "plain", "verdict", "says"),
    [
        (judged(OWN, 180), judged(PLAIN, 120), "help", "Critiques help."),
        (judged(OWN, 120), judged(PLAIN, 180), "hurt", "Critiques hurt"),
        (judged(OWN, 150), judged(PLAIN, 150, first=40), "undecided", "Undecided"),
        (judged(OWN, 150), judged(PLAIN, 150), "do not help", "Critiques do not help"),
    ],
)
def test_the_gate_says_in_words_what_the_difference_allows(own, plain, verdict, says):
    gate = critique_gate(own, plain, margin=0.05)
    assert gate.verdict == verdict and gate.sentences[0].startswith(says)
    assert gate.own_minus_plain.mean == pytest.approx(gate.own.accuracy.mean - gate.plain.accuracy.mean)
    assert gate.own_minus_plain.n_groups == N


def test_given_critiques_are_told_as_a_bound_and_never_decide():
    gate = critique_gate(judged(OWN, 120), judged(PLAIN, 180), judged(GIVEN, 200))
    assert gate.verdict == "hurt"
    assert gate.given_minus_own.mean == pytest.approx(0.4)
    assert any("100.0%: a bound from above" in sentence for sentence in gate.sentences)
    assert gate.to_dict()["given_upper_bound"]["accuracy"]["mean"] == 1.0


def test_pairs_without_a_score_leave_both_sides_and_are_told():
    gate = critique_gate(judged(OWN, 200, unscored=range(50)), judged(PLAIN, 150))
    assert gate.own_minus_plain.excluded == 50 and gate.own_minus_plain.n == 150
    assert gate.own_minus_plain.mean == pytest.approx(1 - 100 / 150)
    assert any(sentence.startswith("25.0% of the pairs had no score") for sentence in gate.sentences)


@pytest.mark.parametrize(
    ("own", "plain", "given", "says"),
    [
        (
            GIVEN,
            PLAIN,
            None,
            "own is judged by critique@2-given, expected a critique reward after its own critiques",
        ),
        (OWN, OWN, None, "plain is judged by critique@1, expected a reward that writes no critiques"),
        (OWN, PLAIN, OWN, "given is judged by critique@1, expected a critique reward after given critiques"),
        (PLAIN, PLAIN, None, "own is judged by scalar@1"),
    ],
)
def test_judgements_in_the_wrong_place_are_refused(own, plain, given, says):
    with pytest.raises(ValueError, match=says):
        critique_gate(judged(own, 9), judged(plain, 9), given and judged(given, 9))


def test_critiques_are_held_against_the_answers_and_the_truth():
    pairs = JudgedPairs([JudgedPair(pair(i), 1.0, 0.0) for i in range(4)], OWN, "critique", "0")
    right = "Claim: leukocyte = absent. The image shows: absent. Right."
    wrong = "Claim: leukocyte = present. The image shows: present. Right."
    texts = {
        "p0/chosen": right, "p0/rejected": wrong,  # one true, one not
        "p1/chosen": right + " Lovely.", "p1/rejected": "Lovely.",  # true but not all readable; nothing to check
        "p2/chosen": right, "p2/rejected": right,  # of a case that nothing is known of
        "p3/chosen": None,  # cut; the other side was not judged
    }  # fmt: skip
    judgements = {
        name: Judgement(
            id=name, case_id="c", candidate_ids=(name,), criterion="critique", judge=OWN, critique=text, score=1.0
        )
        for name, text in texts.items()
    }
    known = {f"c{i}": {"leukocyte": "absent"} for i in (0, 1, 3)}
    found = critique_agreement(pairs, judgements, load_logic("peripheral_smear"), known)
    assert (found.statements.mean, found.statements.n, found.statements.excluded) == (pytest.approx(2 / 3), 3, 1)
    assert (found.whole.mean, found.whole.n) == (0.25, 4)
    assert (found.unchecked, found.unknown_case, found.missing) == (1, 2, 2)
    assert "66.7% agrees" in critique_gate(judged(OWN, 9), judged(PLAIN, 9), agreement=found).sentences[-1]


def test_pairs_of_the_training_split_are_told():
    own, plain = judged(OWN, 180), judged(PLAIN, 120)
    assert not any("split" in sentence for sentence in critique_gate(own, plain).sentences)
    seen = JudgedPair(pair(0).model_copy(update={"split": "train"}), 1.0, 0.5)
    gate = critique_gate(
        replace(own, pairs=[seen, *own.pairs[1:]]), replace(plain, pairs=[seen, *plain.pairs[1:]])
    )
    assert any(sentence.startswith("1 of the 200 pairs are of split 'train'") for sentence in gate.sentences)
