"""Scores of three answers to one case and of one to another, shaped in every way."""

import math
from types import SimpleNamespace

import pytest
import torch

from vlmalign.data.token_ends import token_ends
from vlmalign.losses.advantages import Moments
from vlmalign.models.sampling import Sample
from vlmalign.records import Candidate, Case, ImageRef, Sampling, assistant, user
from vlmalign.rewards import RewardOutput
from vlmalign.training.ppo_config import Shaping
from vlmalign.training.rollouts import Rollout
from vlmalign.training.shaping import Shaper


class Letters:
    """A tokenizer whose tokens are letters; 0 is the end."""

    @staticmethod
    def decode(ids, skip_special_tokens):
        return "".join(chr(i) for i in ids if i)


class Given:
    """A reward that says what it is given, by text."""

    name, needs_images = "given@1", False

    def __init__(self, scores, std=None, steps=None):
        self.scores, self.std, self.steps = scores, std or {}, steps
        self.seen = []

    def score(self, cases, candidates, images=None):
        texts = [candidate.text for candidate in candidates]
        self.seen += texts
        scores = [self.scores.get(text) for text in texts]
        return RewardOutput.of(
            scores,
            reasons=["not known" if score is None else None for score in scores],
            std=[self.std.get(text, math.nan) for text in texts],
            steps=None if self.steps is None else [self.steps.get(text) for text in texts],
        )


def make_rollout(*texts, cut=()):
    samples, candidates = [], []
    for k, text in enumerate(texts):
        ids = (*map(ord, text), *([] if k in cut else [0]))
        samples.append(Sample(ids, text, -1.0, k not in cut))
        candidates.append(
            Candidate(
                id=f"c/{k}",
                case_id="c",
                messages=(assistant(text),),
                policy="p@1",
                seed=k,
                tokens=len(ids),
                sampling=Sampling(max_new_tokens=9),
                finished=k not in cut,
            )  # fmt: skip
        )
    case = Case(
        id="c", images=(ImageRef(path="images/0.png", sha256="0" * 64),), messages=(user("What?", images=1),),
        domain="d", group_id="g", group_kind="slide",
    )  # fmt: skip
    item = SimpleNamespace(case=case, images=())
    return Rollout((item,), (tuple(samples),), tuple(candidates), 0.0, 0)


def shape(reward, rollout, **settings):
    shaper = Shaper(reward, Shaping(**settings), Letters)
    return shaper, shaper.shape(rollout, lambda own: own)


def test_a_score_is_due_at_the_answers_last_token_and_an_invalid_answer_has_none():
    _, found = shape(Given({"ab": 2.0, "a": -1.0}), make_rollout("ab", "a", "x"))
    assert found.token_rewards.tolist() == [[0, 0, 2.0], [0, -1.0, 0], [0, 0, 0]]
    assert found.valid.tolist() == [True, True, False] and found.reasons == (None, None, "not known")


def test_a_cut_answer_is_invalid_unless_the_settings_say_what_it_is_worth():
    reward = Given({"ab": 2.0, "a": 1.0})
    _, masked = shape(reward, make_rollout("ab", "a", cut=[1]))
    assert masked.valid.tolist() == [True, False] and "a" not in reward.seen
    _, punished = shape(reward, make_rollout("ab", "a", cut=[1]), cut=-3.0)
    assert punished.valid.tolist() == [True, True] and punished.scores.tolist() == [2.0, -3.0]
    assert punished.token_rewards.tolist() == [[0, 0, 2.0], [-3.0, 0, 0]]


def test_an_answer_that_the_reward_cannot_score_is_left_out_unless_the_settings_say_what_it_is_worth():
    reward, rollout = Given({"ab": 2.0}), make_rollout("ab", "x", "y", cut=[2])
    _, found = shape(reward, rollout, unscored=-1.0)
    assert found.valid.tolist() == [True, True, False] and found.token_rewards.sum(1).tolist() == [2.0, -1.0, 0.0]
    assert found.reasons[1] == "not known"


def test_pessimism_takes_standard_deviations_off_and_needs_them():
    reward = Given({"a": 2.0, "b": 2.0}, std={"a": 0.5, "b": 0.0})
    assert shape(reward, make_rollout("a", "b"), pessimism=2.0)[1].token_rewards.sum(1).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="pessimism is 2.0 and reward 'given@1' gave no standard deviation"):
        shape(Given({"a": 2.0}), make_rollout("a"), pessimism=2.0)


def test_scores_are_clipped_on_both_sides():
    found = shape(Given({"a": 9.0, "b": -9.0, "c": 1.0}), make_rollout("a", "b", "c"), clip=5.0)[1]
    assert found.token_rewards.sum(1).tolist() == [5.0, -5.0, 1.0]
    assert found.scores.tolist() == [9.0, -9.0, 1.0]


def test_whitening_reads_valid_scores_only_and_keeps_their_sign():
    found = shape(Given({"a": 1.0, "b": 3.0}), make_rollout("a", "b", "x"), whiten="round")[1]
    assert found.token_rewards.sum(1).tolist() == pytest.approx([0.5**0.5, 3 * 0.5**0.5, 0.0])


def test_running_whitening_remembers_the_rounds_before():
    shaper, _ = shape(Given({"a": 1.0, "b": 3.0, "c": 8.0}), make_rollout("a", "b"), whiten="running")
    second = shaper.shape(make_rollout("c"), lambda own: own)
    std = float(torch.tensor([1.0, 3.0, 8.0]).std())
    assert second.token_rewards.sum(1).tolist() == pytest.approx([8.0 / std])
    assert shaper.seen.n == 3


def test_processes_whiten_by_the_scores_of_all():
    shaper = Shaper(Given({"a": 2.0}), Shaping(whiten="round"), Letters)
    found = shaper.shape(make_rollout("a"), lambda own: own.join(Moments.of(torch.tensor([0.0, 4.0]))))
    assert found.token_rewards.sum(1).tolist() == pytest.approx([1.0])


def test_stated_confidence_is_hidden_from_the_reward_and_moves_the_score_around_the_running_mean():
    reward = Given({"a": 2.0, "b": 0.0, "c": 1.0})
    rollout = make_rollout("a Confidence: 10", "b Confidence: 10", "c")
    shaper, found = shape(reward, rollout, confidence={"weight": 2.0, "momentum": 0.5})
    assert reward.seen == ["a", "b", "c"] and shaper.baseline == pytest.approx(1.0)
    assert found.token_rewards.sum(1).tolist() == pytest.approx([3.0, -1.0, 1.0])
    assert found.confidence[:2].tolist() == [1.0, 1.0] and found.confidence[2].isnan()
    shaper.shape(make_rollout("a", "a"), lambda own: own)
    assert shaper.baseline == pytest.approx(1.5)


STEPS = {"One. Two.": ((4, 0.5), (9, 1.0))}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": "sum"}, {3: 0.5, 8: 1.0}),
        ({"steps": "clip", "step_threshold": 0.75}, {3: -0.25, 8: 0.0}),
        ({"steps": "delta"}, {3: -0.5, 8: 1.0}),
        ({"steps": "sum", "clip": 0.6}, {3: 0.5, 8: 0.6}),
    ],
)
def test_step_rewards_stand_where_their_steps_end(settings, expected):
    reward = Given({"One. Two.": 1.5}, steps=STEPS)
    found = shape(reward, make_rollout("One. Two."), **settings)[1].token_rewards[0]
    assert {i: pytest.approx(v) for i, v in enumerate(found.tolist()) if v or i in expected} == expected


def test_steps_of_a_reward_that_scores_none_are_refused():
    with pytest.raises(ValueError, match="steps is 'sum' and reward 'given@1' scores no steps"):
        shape(Given({"a": 1.0}), make_rollout("a"), steps="sum")


def test_a_place_in_the_text_belongs_to_the_first_token_that_reaches_it():
    ids = [ord(letter) for letter in "One. Two."] + [0]
    assert token_ends(Letters, ids, [4, 9, 99]) == [3, 8, 9]
