import re

import pytest

from data_builders.confidence_pairs import build_confidence_pairs, confidence_pairs
from data_builders.pair_weights import sureness, weigh_pairs
from vlmalign.records import (
    DataError,
    DatasetBuild,
    Judgement,
    Preference,
    assistant,
    read_manifest,
    read_records,
    user,
)


def pair(i=0, **fields):
    return Preference(
        id=f"p{i}", case_id=f"c{i}", group_id=f"g{i}", split="train", images=(), prompt=(user("What is seen?"),),
        chosen=(assistant("Right."),), rejected=(assistant("Wrong."),), source="expert", **fields,
    )  # fmt: skip


@pytest.fixture
def pairs(tmp_path):
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        for i in range(4):
            build.commit(f"p{i}", [pair(i, margin=1.0)])
    return tmp_path / "pairs"


def stated(turns):
    return int(re.search(r"Confidence: (\d+)$", turns[-1].text).group(1))


@pytest.mark.parametrize("seed", range(5))
def test_a_right_answer_is_better_sure_and_a_wrong_one_unsure(seed):
    right, wrong = confidence_pairs(pair(), seed=seed)
    assert stated(right.chosen) >= 7 and stated(right.rejected) <= 3 and "Right." in right.rejected[0].text
    assert stated(wrong.chosen) <= 3 and stated(wrong.rejected) >= 7 and "Wrong." in wrong.chosen[0].text
    assert all(each.prompt[-1].text.endswith("Confidence: <number>") for each in (right, wrong))
    assert right.margin is None


def test_each_pair_becomes_two_beside_itself(pairs, tmp_path):
    both = read_records(build_confidence_pairs(pairs, tmp_path / "both"), Preference)
    assert len(both) == 12 and len({each.id for each in both}) == 12
    alone = read_records(build_confidence_pairs(pairs, tmp_path / "alone", plain=False), Preference)
    assert [each.id for each in alone[:2]] == ["p0/chosen-confidence", "p0/rejected-confidence"]


@pytest.fixture
def judge(tmp_path):
    def write(rows):
        with DatasetBuild(tmp_path / "judged", "judgement", {}) as build:
            for i, sides in enumerate(rows):
                for side, (score, extra) in zip(("chosen", "rejected"), sides, strict=True):
                    state = {"score": score} if score is not None else {"valid": False, "invalid_reason": "unread"}
                    record = Judgement(
                        id=f"p{i}/{side}/x", case_id=f"c{i}", candidate_ids=(f"p{i}/{side}",), criterion="x",
                        judge="j@1", **state, **extra,
                    )  # fmt: skip
                    build.commit(record.id, [record])
        return tmp_path / "judged"

    return write


def test_a_sure_pair_weighs_much_and_one_that_the_reward_contradicts_little(pairs, judge, tmp_path):
    known = {"components": {"margin_std": 1.0}}
    judged = judge(
        [
            [(2.0, known), (0.0, known)],
            [(0.0, known), (2.0, known)],
            [(1.0, {"std": 3.0}), (1.0, {"std": 4.0})],
            [(None, {}), (1.0, {})],
        ]
    )
    out = weigh_pairs(pairs, judged, tmp_path / "out")
    weights = [record.weight for record in read_records(out, Preference)]
    assert weights == pytest.approx([0.9772, 0.0228, 0.5, 1.0], abs=1e-4)  # Phi(2), Phi(-2), a tie, unscored
    assert read_manifest(out).counts["unscored"] == 1
    dropped = weigh_pairs(pairs, judged, tmp_path / "dropped", unscored="drop")
    assert len(read_records(dropped, Preference)) == 3 and read_manifest(dropped).counts["dropped"] == 1


def test_the_rules_by_hand():
    assert sureness("exp", 9.0, 1.0) == pytest.approx(0.3679, abs=1e-4)
    assert sureness("probability", 1.0, 0.0) == 1.0 and sureness("probability", -1.0, 0.0) == 0.0


def test_a_reward_without_a_deviation_cannot_weigh(pairs, judge, tmp_path):
    judged = judge([[(1.0, {}), (0.0, {})]] * 4)
    with pytest.raises(DataError, match="without a standard deviation, which rule 'probability' needs"):
        weigh_pairs(pairs, judged, tmp_path / "out")


def test_a_pair_that_was_not_judged_counts_as_unscored(pairs, judge, tmp_path):
    out = weigh_pairs(pairs, judge([[(1.0, {"std": 1.0}), (0.0, {"std": 1.0})]]), tmp_path / "out")
    assert read_manifest(out).counts["unscored"] == 3
