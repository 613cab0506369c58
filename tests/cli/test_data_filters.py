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
