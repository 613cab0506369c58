import math

import pytest
from PIL import Image

from vlmalign.records import DataError, DatasetBuild, Judgement, Preference, assistant, read_records, user
from vlmalign.rewards.calibration_items import ScoredItems, read_gold, read_pairs


def judged(candidate, score, judge="r@1", case="c", std=None, **fields):
    state = (
        {"valid": False, "invalid_reason": "no claim parsed"} if score is None else {"score": score, "std": std}
    )
    name = {"id": f"{candidate}/{judge}", "case_id": case, "candidate_ids": (candidate,), "criterion": "x"}
    return Judgement(**{**name, "judge": judge, **state, **fields})


@pytest.fixture
def write(tmp_path):
    """Write a folder of records."""

    def write(name, kind, records):
        with DatasetBuild(tmp_path / name, kind, {}) as build:
            build.commit("0", records)
        return tmp_path / name

    return write


@pytest.fixture
def pairs(tmp_path):
    """Two pairs of one patient and one of another."""
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        image = build.add_image(Image.new("RGB", (8, 8)))
        build.commit("0", [
            Preference(
                id=f"p{i}", case_id="c", group_id=group, split="test", images=(image,),
                prompt=(user("Describe.", images=1),), chosen=(assistant("Yes."),), rejected=(assistant("No."),),
                source="expert",
            )
            for i, group in enumerate("aab")
        ])  # fmt: skip
    return tmp_path / "pairs"


SIDES = [judged("p0/chosen", 2.0, std=0.3), judged("p0/rejected", 0.5, std=0.4), judged("p1/chosen", None),
         judged("p1/rejected", 1.0), judged("p2/chosen", -1.0), judged("p2/rejected", 1.0)]  # fmt: skip


def test_pairs_give_margins_and_what_is_unscored_is_counted(pairs, write):
    items = read_pairs(write("judged", "judgement", SIDES), pairs)
    assert items.scores.tolist() == [1.5, -2.0] and items.labels.tolist() == [1, 1] and items.groups == ("a", "b")
    assert items.stds[0] == pytest.approx(0.5) and math.isnan(items.stds[1])
    assert items.judge == "r@1" and items.counts == {"unscored": 1}
    assert items.margins_right() == [1.0, 0.0]


def test_single_sides_of_pairs_are_right_where_chosen(pairs, write):
    items = read_pairs(write("judged", "judgement", SIDES), pairs, "answer")
    assert items.scores.tolist() == [2.0, 0.5, 1.0, -1.0, 1.0]
    assert items.labels.tolist() == [1, 0, 0, 1, 0] and items.counts == {"unscored": 1}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (SIDES[:1], "candidate 'p0/rejected' of pair 'p0' is not judged"),
        (
            [*SIDES[:5], judged("p2/rejected", 1.0, judge="other@1")],
            "it is by other@1 on x, the first one by r@1 on x",
        ),
        ([*SIDES, judged("p0/chosen", 1.0, id="again")], "candidate 'p0/chosen' is judged twice"),
        ([judged(s.candidate_ids[0], None) for s in SIDES], "no item has both a score and a label .unscored 3."),
    ],
)
def test_judgements_that_do_not_belong_to_the_pairs_are_refused(pairs, write, records, message):
    with pytest.raises(DataError, match=message):
        read_pairs(write("judged", "judgement", records), pairs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"judge_ids": ("r@1", "s@1")}, "r@1 decided 3 of these 3 pairs itself"),
        ({"expert_ids": ("cells@1",)}, "expert cells@1, who is behind r@1, decided 3 of these 3 pairs"),
    ],
)
def test_a_reward_is_not_calibrated_on_its_own_word(pairs, write, tmp_path, fields, message):
    decided = write("decided", "preference", [
        pair.model_copy(update={"images": (), "prompt": (user("Describe."),), **fields})
        for pair in read_records(pairs, Preference)
    ])  # fmt: skip
    with DatasetBuild(tmp_path / "judged", "judgement", {"experts": ["cells@1"]}) as build:
        build.commit("0", SIDES)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "judged", decided)


def test_judgements_of_other_pairs_of_the_same_names_are_refused(pairs, tmp_path):
    with DatasetBuild(tmp_path / "judged", "judgement", {"pairs": "0" * 64}) as build:
        build.commit("0", SIDES)
    with pytest.raises(DataError, match="judgements are of other pairs"):
        read_pairs(tmp_path / "judged", pairs)


def test_gold_judgements_label_answers_and_pairs_of_answers(write, make):
    cases = write("cases", "case", [make.case(i=i) for i in range(2)])
    scores = {"c0/0": (3.0, 1.0), "c0/1": (1.0, 0.2), "c0/2": (2.0, 0.2), "c1/0": (0.0, None), "c1/1": (None, 1.0)}
    folders = [
        write(name, "judgement", [judged(c, pair[k], f"{name}@1", c[:2]) for c, pair in scores.items()])
        for k, name in enumerate(("reward", "gold"))
    ]
    answers = read_gold(*folders, cases)
    assert answers.scores.tolist() == [3.0, 1.0, 2.0] and answers.labels.tolist() == [1, 0, 0]
    assert answers.counts == {"unscored": 1, "gold_unknown": 1} and answers.groups == ("g0",) * 3
    assert read_gold(*folders, cases, right_from=0.2).labels.tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="are by gold@1, the reward itself"):
        read_gold(folders[1], folders[1], cases)
    margins = read_gold(*folders, cases, "pair")
    assert margins.scores.tolist() == [2.0, 1.0] and margins.labels.tolist() == [1, 1]
    assert margins.counts["gold_ties"] == 1 and margins.judge == "reward@1"


def test_folds_and_single_items_keep_groups_whole():
    items = ScoredItems.of("answer", range(12), [0, 1] * 6, list("aaaabbbbccdd"))
    fold = items.folds(2, seed=0)
    assert len({(g, f) for g, f in zip(items.groups, fold.tolist(), strict=True)}) == 4 and set(fold) == {0, 1}
    one = items.one_per_group(3)
    assert one.groups == ("a", "b", "c", "d") and one.scores.tolist() == items.one_per_group(3).scores.tolist()
    assert len({tuple(items.one_per_group(s).scores) for s in range(20)}) > 5
    with pytest.raises(ValueError, match="5 folds of 4 groups"):
        items.folds(5, seed=0)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([math.nan], [1], "score 0 is nan: leave out"),
        ([1.0], [0.5], "label 0 is 0.5: it is 1"),
        ([1.0, 2.0], [1], "lengths differ .scores 2, labels 1"),
    ],
)
def test_items_that_are_no_numbers_are_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        ScoredItems.of("pair", scores, labels, ["a"] * len(scores))
