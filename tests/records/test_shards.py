import pytest

from vlmalign.records import DatasetBuild, Judgement
from vlmalign.records.shards import Shard, active_shard, building, parse_shard


@pytest.mark.parametrize(("units", "of"), [(0, 3), (1, 3), (7, 3), (9, 3), (100, 7), (3, 8)])
def test_the_parts_of_n_shards_are_every_unit_once_in_order(units, of):
    parts = [list(Shard(number, of).part(units)) for number in range(of)]
    assert sum(parts, []) == list(range(units))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "1/0", "1/2/3", " 0/2"])
def test_what_names_no_part_is_refused(text):
    with pytest.raises(ValueError, match="i/n is required"):
        parse_shard(text)


def judgement(name):
    return Judgement(id=name, case_id=name, candidate_ids=(name,), criterion="c", judge="j@1", score=1.0)


def test_a_build_that_was_not_asked_to_divide_itself_refuses_to_be_a_shard(tmp_path):
    with building(parse_shard("0/2")), pytest.raises(ValueError, match="shard 0/2: this build looks at its whole"):
        with DatasetBuild(tmp_path / "x", "judgement", {}) as build:
            build.commit("a", [judgement("a")])
    assert not (tmp_path / "x" / "manifest.json").exists()
    assert active_shard() is None


def test_a_shard_and_the_whole_are_different_builds(tmp_path):
    for text in (None, "0/2"):
        with (
            building(text and parse_shard(text)),
            DatasetBuild(tmp_path / str(text)[0], "judgement", {"a": 1}) as build,
        ):
            assert list(build.part(3)) == ([0, 1, 2] if text is None else [0])
    assert build.config == {"a": 1, "shard": "0/2"}
