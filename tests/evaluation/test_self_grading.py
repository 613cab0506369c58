"""An expert does not grade what it has taught, unless it is allowed by name."""

import pytest

from vlmalign.evaluation.judged_pairs import read_judged_pairs
from vlmalign.evaluation.self_grading import experts_of, refuse_graded_teachers, refuse_self_grading
from vlmalign.records import DataError, Preference, RecordFolder


@pytest.fixture
def taught(pair_folders):
    """Three pairs, two of them decided by an expert."""
    fields = {"a": {"expert_ids": ["cells@1", "masks@2"]}, "b": {"expert_ids": ["cells@1"]}, "c": {}}
    return RecordFolder(pair_folders.pairs("pairs", fields), Preference)


@pytest.fixture
def judged(pair_folders):
    scores = {name: (1.0, 0.0) for name in "abc"}
    return lambda name, **config: pair_folders.judged_pairs(name, scores, config=config)


def test_records_count_each_of_their_experts(taught):
    assert experts_of(taught) == {"cells@1": 2, "masks@2": 1}


def test_judgements_by_the_expert_of_the_pairs_are_refused_by_name(taught, judged):
    own = judged("own", experts=["cells@1", "other@1"])
    with pytest.raises(DataError, match="cells@1 decided 2 of the pairs.*--allow-self-grading cells@1"):
        read_judged_pairs(taught, own)
    assert len(read_judged_pairs(taught, own, allow_self_grading=["cells"]).pairs) == 3
    with pytest.raises(DataError, match="expert masks@2"):
        read_judged_pairs(taught, judged("two", experts=["cells@1", "masks@2"]), allow_self_grading=["cells@1"])


def test_another_expert_or_none_may_grade(taught, judged):
    for name, config in {"none": {}, "other": {"experts": ["other@1"]}, "later": {"experts": ["cells@9"]}}.items():
        assert len(read_judged_pairs(taught, judged(name, **config)).pairs) == 3


def test_a_policy_is_not_graded_by_the_expert_of_its_training_data(taught, judged):
    refuse_graded_teachers([taught.path], ["reader@1"])
    with pytest.raises(DataError, match="cells@1 decided 2 of the training records"):
        refuse_graded_teachers([taught.path], ["cells@1"])
    refuse_graded_teachers([taught.path], ["cells@1"], allowed=["cells@1"])
    with pytest.raises(DataError, match="holds judgement records"):
        refuse_graded_teachers([judged("own")], ["cells@1"])


def test_the_first_expert_is_named():
    with pytest.raises(DataError, match="expert a@1 decided 1"):
        refuse_self_grading({"b@1": 2, "a@1": 1}, ["a@1", "b@1"], what="pairs")
