import pytest
from PIL import Image

from data_builders import build_demonstrations
from data_builders.corruption_pairs import build_corruptions
from data_builders.merging import merge_folders, merge_shards
from data_builders.sources import build_smear
from data_builders.sources.table import build_table
from vlmalign.records import (
    Candidate,
    Case,
    DataError,
    DatasetBuild,
    Preference,
    read_manifest,
    read_records,
)
from vlmalign.records.shards import building, parse_shard
from vlmalign.records.validation import validate_folder


@pytest.fixture
def cases(world, full):
    truths = {f"c{k}": full | {"stain": ("pale", "strong", "normal")[k % 3]} for k in range(7)}
    return world.cases("cases", truths, texts={name: "A leukocyte is present." for name in truths})


def shard(cases, logic, out, text):
    with building(parse_shard(text)):
        return build_demonstrations(cases, out, logic=logic)


def test_merged_shards_are_the_bytes_of_the_undivided_build(cases, logic, tmp_path, bytes_of):
    whole = build_demonstrations(cases, tmp_path / "whole", logic=logic)
    parts = [shard(cases, logic, tmp_path / f"part-{k}", f"{k}/3") for k in range(3)]
    assert [read_manifest(part).counts["cases"] for part in parts] == [2, 2, 3]
    assert bytes_of(merge_shards(parts[::-1], tmp_path / "merged")) == bytes_of(whole)
    more = [shard(cases, logic, tmp_path / f"more-{k}", f"{k}/9") for k in range(9)]
    assert bytes_of(merge_shards(more, tmp_path / "merged-more")) == bytes_of(whole)


def check_shards(build, root, bytes_of, of=3):
    """Any build: its shards put together are its bytes; returns the folder of the whole."""
    parts = []
    for k in range(of):
        with building(parse_shard(f"{k}/{of}")):
            parts.append(build(root / f"part-{k}"))
    whole = build(root / "whole")
    assert bytes_of(merge_shards(parts, root / "merged")) == bytes_of(whole)
    assert all(read_manifest(part).counts["records"] < read_manifest(whole).counts["records"] for part in parts)
    return whole


def test_shards_of_corruptions_merge_to_the_bytes_of_the_undivided_build(cases, logic, tmp_path, bytes_of):
    texts = build_demonstrations(cases, tmp_path / "demos", logic=logic)
    for given in ({"texts": texts}, {"texts": cases}):
        root = tmp_path / f"of-{given['texts'].name}"
        root.mkdir()
        check_shards(lambda out, given=given: build_corruptions(**given, out=out, logic=logic), root, bytes_of)


def test_shards_of_a_phantom_are_whole_groups(tmp_path, bytes_of):
    check_shards(lambda out: build_smear(out, n_groups=4, fields_per_group=2, size=32), tmp_path, bytes_of)


@pytest.fixture
def table(tmp_path):
    """Four rows, of which the third cannot be read, as options of the source `table`."""
    for k in range(4):
        Image.new("L", (8, 8), k).save(tmp_path / f"{k}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    (tmp_path / "t.csv").write_text("path,who\n" + "".join(f"{k}.png,P{k}\n" for k in range(4)))
    return {"data": tmp_path, "table": "t.csv", "image": "path", "group": "who", "domain": "chest_xray",
            "on_bad": "skip"}  # fmt: skip


def test_shards_of_a_source_share_a_key_and_merge_with_what_they_skipped(table, tmp_path, bytes_of):
    key = tmp_path / "key"
    key.write_text("k" * 32)
    whole = check_shards(lambda out: build_table(out=out, key_file=key, **table), tmp_path, bytes_of, of=2)
    assert read_manifest(whole).counts["skipped"] == 1
    with building(parse_shard("0/2")), pytest.raises(ValueError, match="the shards of one build need one key"):
        build_table(out=tmp_path / "alone", **table)


def test_a_killed_shard_and_a_killed_merge_continue_to_the_same_bytes(cases, logic, tmp_path, bytes_of, killed):
    whole = build_demonstrations(cases, tmp_path / "whole", logic=logic)
    killed(lambda: shard(cases, logic, tmp_path / "part-1", "1/2"), 2)
    parts = [shard(cases, logic, tmp_path / f"part-{k}", f"{k}/2") for k in range(2)]
    killed(lambda: merge_shards(parts, tmp_path / "merged"), 5)
    assert bytes_of(merge_shards(parts, tmp_path / "merged")) == bytes_of(whole)


def test_missing_foreign_and_repeated_shards_are_named(cases, logic, tmp_path):
    parts = [shard(cases, logic, tmp_path / f"part-{k}", f"{k}/3") for k in range(3)]
    out = tmp_path / "out"
    with pytest.raises(DataError, match="1 of 3 shards are missing: 1/3"):
        merge_shards([parts[0], parts[2]], out)
    with pytest.raises(DataError, match="part-0: shard 0/3 is given twice"):
        merge_shards([*parts, tmp_path / "cases" / ".." / "part-0"], out)
    with building(parse_shard("1/3")):
        other = build_demonstrations(cases, tmp_path / "other", logic=logic, seed=1)
    with pytest.raises(DataError, match="other: this is shard 1/3 of another build than"):
        merge_shards([parts[0], other, parts[2]], out)
    whole = build_demonstrations(cases, tmp_path / "whole", logic=logic)
    with pytest.raises(DataError, match="whole: the folder is no shard"):
        merge_shards([whole, *parts], out)
    assert not out.exists()


def test_folders_are_merged_in_order_with_the_strictest_use_and_all_notes(pair_folders, tmp_path):
    first = pair_folders.pairs("first", {"a": {}, "b": {}})
    with DatasetBuild(
        tmp_path / "second", "preference", {}, notes={"licence": "X"}, data_use="local_only"
    ) as build:
        (one, _) = read_records(first, Preference)
        for ref in one.images:
            build.adopt(ref, first)
        build.commit("c", [one.model_copy(update={"id": "c"})], {"ties": 4})
    out = merge_folders([first, tmp_path / "second"], tmp_path / "out")
    manifest = read_manifest(out)
    assert [pair.id for pair in read_records(out, Preference)] == ["a", "b", "c"]
    assert (manifest.data_use, manifest.notes) == ("local_only", {"licence": "X"})
    assert manifest.counts == {"records": 3, "images": 2, "ties": 4, "folders": 2}
    assert validate_folder(out) == []


def test_duplicate_ids_are_refused_or_get_the_name_of_their_folder(world, full, tmp_path):
    for name in ("a", "b"):
        world.cases(f"{name}/hospital-{name}", {"c1": full})
        world.candidates(f"{name}-answers/hospital-{name}", {"c1": ["One.", "Two."]})
    cases = [tmp_path / n / f"hospital-{n}" for n in "ab"]
    answers = [tmp_path / f"{n}-answers" / f"hospital-{n}" for n in "ab"]
    with pytest.raises(DataError, match="duplicate id 'c1'"):
        merge_folders(cases, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    merged = read_records(merge_folders(cases, tmp_path / "cases", ids="prefix"), Case)
    said = read_records(merge_folders(answers, tmp_path / "answers", ids="prefix"), Candidate)
    assert [case.id for case in merged] == ["hospital-a/c1", "hospital-b/c1"]
    assert {answer.case_id for answer in said} == {case.id for case in merged} and len(said) == 4


def test_folders_of_two_kinds_or_one_alone_cannot_be_merged(pair_folders, world, full, tmp_path):
    pairs, cases = pair_folders.pairs("pairs", {"a": {}}), world.cases("cases", {"c1": full})
    with pytest.raises(DataError, match="cases: the folder holds case records, .*pairs holds preference records"):
        merge_folders([pairs, cases], tmp_path / "out")
    with pytest.raises(ValueError, match="1 folder is given"):
        merge_folders([pairs], tmp_path / "out")
