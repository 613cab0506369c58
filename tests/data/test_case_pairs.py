import pytest
import torch

from vlmalign.data import CasePairs, DataSource, ExampleDataset, collate_pairs, pad_token
from vlmalign.records import DataError, DatasetBuild, Preference, assistant

ANSWERS = ["A leukocyte is present.", "No leukocyte is seen.", "None.", "The stain is normal."]


@pytest.fixture
def ranked(records, tmp_path):
    """All six pairs of case 0 (answers best first), one pair of case 1."""

    def make(extra=()):
        folder = tmp_path / f"pairs{len(extra)}"
        with DatasetBuild(folder, "preference", {}) as build:
            made = [(a, b) for a in range(4) for b in range(a + 1, 4)]
            for n, (a, b) in enumerate([*made, *extra]):
                build.commit(str(n), [records["preference"](
                    build, 0, id=f"c0/{n}", chosen=(assistant(ANSWERS[a]),), rejected=(assistant(ANSWERS[b]),),
                    margin=float(b - a), weight=1.0 + n,
                )])  # fmt: skip
            build.commit("last", [records["preference"](build, 1)])
        return folder

    return make


@pytest.fixture
def data(ranked, processor):
    return ExampleDataset([DataSource(path=str(ranked()))], Preference, processor)


def test_all_pairs_of_a_case_become_one_item_with_each_answer_once(data):
    items = CasePairs(data, grouped=True)
    assert len(items) == 2 and len(items[0].example.responses) == 4 and len(items[0].pairs) == 6
    assert set(items[0].pairs) == {(a, b) for a in range(4) for b in range(a + 1, 4)}
    assert items[0].margins == (1, 2, 3, 1, 2, 1) and items[0].weights == (1, 2, 3, 4, 5, 6)
    assert sorted(items.keys()) == sorted(CasePairs(data).keys()) and len(items.keys()) == 7


def test_pairs_by_themselves_are_one_item_each(data):
    items = CasePairs(data)
    assert [item.pairs for item in items] == [((0, 1),)] * 7


def test_a_batch_points_to_the_answers_of_each_pair_grouped_or_not(data, processor):
    texts = []
    for grouped in (False, True):
        items = CasePairs(data, grouped=grouped)
        batch = collate_pairs([items[i] for i in range(len(items))], pad_token(processor))
        assert batch["ids"] == tuple(items.keys()) and batch["pairs"].shape == (7, 2)
        ids = batch["batch"].response_ids[batch["pairs"]]
        texts.append([processor.decode(row, skip_special_tokens=True) for row in ids.flatten(0, 1)])
        assert torch.equal(batch["weights"], torch.tensor([1.0, 2, 3, 4, 5, 6, 1]))
        assert batch["batch"].n_responses == (6 if grouped else 14)
    assert texts[0] == texts[1]


def test_repeats_are_seen_again(ranked, processor):
    source = DataSource(path=str(ranked()), repeat=3)
    assert len(CasePairs(ExampleDataset([source], Preference, processor), grouped=True)) == 6


def test_pairs_that_say_the_opposite_of_each_other_are_refused_by_name(ranked, processor):
    data = ExampleDataset([DataSource(path=str(ranked([(3, 0)])))], Preference, processor)
    assert len(CasePairs(data)) == 8
    with pytest.raises(DataError, match="record 'c0/6': it says the opposite of pair 'c0/2' of the same case"):
        CasePairs(data, grouped=True)


def test_the_ranking_of_each_case_comes_with_the_batch(data, processor):
    items = CasePairs(data, grouped=True, ranked=True)
    batch = collate_pairs([items[1], items[0]], pad_token(processor))
    assert batch["ranks"].tolist() == [1, 2, 1, 2, 3, 4]
    assert (batch["ranks"][batch["pairs"]].diff() > 0).all()
    with pytest.raises(ValueError, match="rankings are of grouped pairs"):
        CasePairs(data, ranked=True)


def test_a_case_whose_pairs_are_no_ranking_is_refused_by_name(records, build_folder, processor):
    def circle(build):
        for n, (a, b) in enumerate([(3, 0), (0, 1), (1, 2), (2, 0)]):
            yield records["preference"](
                build, 0, id=f"p{n}", chosen=(assistant(ANSWERS[a]),), rejected=(assistant(ANSWERS[b]),)
            )

    data = ExampleDataset([DataSource(path=build_folder("circle", "preference", circle))], Preference, processor)
    assert len(CasePairs(data, grouped=True)) == 1
    with pytest.raises(DataError, match="record 'p1': the pairs of case 'c0' are no ranking: pairs go round"):
        CasePairs(data, grouped=True, ranked=True)
