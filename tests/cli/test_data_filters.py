"""`vlmalign score --demonstrations`, `data filter`, `data uncertain`."""

import json

import pytest

from vlmalign.records import Demonstration, Judgement, Preference, read_records


@pytest.fixture
def lengthy(monkeypatch):
    """A reward that scores by words; an answer about focus it does not score."""
    import vlmalign.rewards
    from vlmalign.rewards import RewardOutput

    class Length:
        name = "length@1"
        needs_images = False

        def score(self, cases, candidates, images=None):
            scores = [None if "ocus" in c.text else float(len(c.text.split())) for c in candidates]
            return RewardOutput.of(scores, reasons=["about focus" if s is None else None for s in scores])

    monkeypatch.setattr(vlmalign.rewards, "load_reward", lambda name, **settings: Length())


def test_demonstrations_are_scored_and_the_poor_ones_dropped_and_listed(
    vlmalign, refused, lengthy, demos, tmp_path
):
    assert vlmalign("score", "length", "--demonstrations", demos, "--out", "judged").code == 0
    judged = read_records(tmp_path / "judged", Judgement)
    given = {record.id for record in read_records(demos, Demonstration)}
    assert {judgement.candidate_ids[0] for judgement in judged} == given
    command = ("data", "filter", demos, "--judged", "judged", "--drop-lowest", "0.5", "--unscored", "keep")
    result = vlmalign(*command, "--out", "clean")
    assert result.code == 0, result.err
    assert result.out.startswith("wrote clean\n")
    lines = [json.loads(line) for line in (tmp_path / "clean" / "dropped.jsonl").read_text().splitlines()]
    kept = {record.id for record in read_records(tmp_path / "clean", Demonstration)}
    assert kept | {line["id"] for line in lines} == given and not kept & {line["id"] for line in lines}
    assert vlmalign("data", "validate", "clean").code == 0
    assert vlmalign(*command, "--out", "clean").out.startswith("clean was complete already")
    refused(*command, "--out", "x", "--min-margin", "0", says="min_margin is no rule for demonstration records")
    refused("data", "filter", demos, "--min-score", "1", "--out", "x", says="give --judged")


def test_pairs_are_filtered_and_chosen_for_readers(vlmalign, refused, pair_folders, tmp_path):
    pairs = pair_folders.pairs("pairs", {name: {} for name in "abc"})
    judged = pair_folders.judged_pairs("judged", {"a": (1.0, 0.0), "b": (0.0, 1.5), "c": (9.0, 0.0)})
    result = vlmalign("data", "filter", pairs, "--judged", judged, "--min-margin", "0", "--out", "clean")
    assert "2 records: dropped 1, dropped:disagrees 1, given 3" in result.out, result
    command = ("data", "uncertain", pairs, "--judged", judged, "--out", "to-read", "--n", "2")
    refused(*command, says="without a standard deviation, which choosing by certainty needs")
    assert vlmalign(*command, "--by", "margin").code == 0
    assert [pair.id for pair in read_records(tmp_path / "to-read", Preference)] == ["a", "b"]
    refused("data", "filter", pairs, "--out", "x", says="no rule is given")
    refused("data", "filter", judged, "--min-margin", "0", "--out", "x", says="holds judgement records")


def test_scoring_two_things_at_once_is_refused(refused, demos, cases):
    refused("score", "symbolic", "--pairs", demos, "--demonstrations", demos, "--out", "o", says="drop one")
    refused("score", "symbolic", "--cases", cases, "--demonstrations", demos, "--out", "o", says="drop one")


def test_records_are_filtered_by_content_alone_or_beside_a_reward(
    vlmalign, refused, pair_folders, cases, tmp_path
):
    pairs = pair_folders.pairs("pairs", {name: {"group_id": f"g-{name}"} for name in "abcd"})
    test = pair_folders.pairs("test", {"x": {"group_id": "g-b"}})  # the picture is that of pair a
    command = ("data", "filter", pairs, "--against", test, "--out", "clean")
    result = vlmalign(*command)
    assert "2 records: dropped 2, dropped:shares_group 1, dropped:shares_picture 1" in result.out, result.err
    assert vlmalign(*command).out.startswith("clean was complete already")
    refused(*command[:-1], "x", "--leakage", "refuse", says="record 'a', field 'images': the picture")
    both = ("data", "filter", pairs, "--duplicates", "text", "--max-extra-words", "9", "--out", "both")
    assert "1 record: dropped 3, dropped:duplicate_text 3" in vlmalign(*both).out
    refused("data", "filter", pairs, "--duplicates", "texts", "--out", "x", says="duplicates")
    refused("data", "filter", pairs, "--max-bits", "3", "--out", "x", says="no rule compares pictures")
    refused("data", "filter", pairs, "--out", "x", says="no rule is given")
    refused("data", "filter", cases, "--min-margin", "1", "--out", "x", says="min_margin: no rule for cases")
    assert vlmalign("data", "filter", cases, "--duplicates", "picture", "--out", "seen").code == 0
    assert not (tmp_path / "x").exists()


def test_shards_merge_to_the_bytes_of_one_build_and_other_stages_refuse_them(vlmalign, refused, cases, tmp_path):
    build = ("build", "best-of-n", "--pairs", "pairs")
    rows = [{"messages": [{"role": "user", "content": f"{k}?"}, {"role": "assistant", "content": "Yes."}],
             "rejected_response": "No."} for k in range(5)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert vlmalign("data", "convert", "ms-swift", "vlmalign", "rows.jsonl", "pairs").code == 0
    assert vlmalign(*build, "--out", "whole").code == 0
    for k in range(2):
        assert vlmalign(*build, "--out", f"part-{k}", "--shard", f"{k}/2").code == 0
    refused("data", "merge", "part-1", "--shards", "--out", "x", says="1 of 2 shards are missing: 0/2")
    assert vlmalign("data", "merge", "part-1", "part-0", "--shards", "--out", "merged").code == 0
    for name in ("records.jsonl", "manifest.json"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    refused(*build, "--out", "x", "--shard", "2/2", says="shard is '2/2': i/n is required")
    refused(
        "build", "captions", "--cases", cases, "--out", "x", "--set", "shard=0/2", says="cannot be run in shards"
    )
    assert not (tmp_path / "x").exists()
