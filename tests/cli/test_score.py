"""Rewards that need no training of a reward model, by the command line."""

import pytest

from vlmalign.records import Candidate, Case, DatasetBuild, Judgement, Sampling, assistant, read_records


@pytest.fixture
def command(cases, tmp_path):
    """Score two answers to every case: `command(reward, settings)`."""
    texts = ["A leukocyte is present. Red cells are crowded.", "..."]
    with DatasetBuild(tmp_path / "answers", "candidate", {}) as build:
        for case in read_records(cases, Case):
            answers = [
                Candidate(
                    id=f"{case.id}/{n}", case_id=case.id, messages=(assistant(text),), policy="p@1", seed=0,
                    sampling=Sampling(max_new_tokens=30),
                )
                for n, text in enumerate(texts)
            ]  # fmt: skip
            build.commit(case.id, answers)

    def make(reward, *settings):
        given = [part for setting in settings for part in ("--set", setting)]
        return "score", reward, *given, "--cases", cases, "--candidates", "answers", "--out", "judged"

    return make


def test_clip_scores_answers_and_says_which_it_could_not(vlmalign, refused, command, clip_folder, tmp_path):
    model = f"model={clip_folder}"
    refused(*command("clip", model, "alpha=0.5"), says=["alpha is 0.5 and baseline is not given"])
    result = vlmalign(*command("clip", model, "alpha=0.5", "baseline=[A blood smear field.]"))
    assert result.code == 0 and "12 records: invalid 6" in result.out
    judged = read_records(tmp_path / "judged", Judgement)
    good, silent = judged[::2], judged[1::2]
    assert all(j.valid and j.criterion == "clip" and "goal_similarity" in j.components for j in good)
    assert len({j.score for j in good}) > 1
    assert {j.invalid_reason for j in silent} == {"the answer has no text"}


def test_implicit_and_follow_up_score_answers_with_a_model_folder(vlmalign, command, tiny, tmp_path):
    for reward, settings in (
        ("implicit", (f"policy={tiny}", f"reference={tiny}")),
        ("follow_up", (f"model={tiny}", "positive=[Thank you.]", "negative=['No, that is wrong.']")),
    ):
        result = vlmalign(*command(reward, *settings), "--overwrite")
        assert result.code == 0, result.err
        judged = read_records(tmp_path / "judged", Judgement)
        assert len(judged) == 12 and all(j.valid and j.judge.startswith(f"{reward}@") for j in judged)
        assert {j.score for j in judged} == {0.0} or reward == "follow_up"
