import math
from dataclasses import replace

import pytest

from vlmalign.records.scores import margin_std
from vlmalign.rewards import RewardOutput, load_reward
from vlmalign.rewards.calibrated import CalibratedReward
from vlmalign.rewards.calibration import Isotonic, Platt, Temperature, VennAbers
from vlmalign.rewards.calibration_file import Calibration
from vlmalign.rewards.calibration_items import ScoredItems
from vlmalign.rewards.conformal import Abstention
from vlmalign.rewards.protocol import MarginOutput
from vlmalign.rewards.scoring import judge_candidates


class Lengths:
    """Scores an answer by its number, and an answer of none not at all."""

    name, needs_images = "lengths@1", False

    def score(self, cases, candidates, images=None):
        scores = [float(c.text) if c.text != "none" else None for c in candidates]
        reasons = [None if s is not None else "no number" for s in scores]
        steps = [None if s is None else ((1, s),) for s in scores]
        std = [math.nan if s is None else 0.5 for s in scores]
        return RewardOutput.of(
            scores, reasons=reasons, std=std, components=[{"own": 7.0}] * len(scores), steps=steps
        )


def calibration(fitted, target="answer", rule=None, judge="lengths@1"):
    return Calibration(
        judge=judge, target=target, calibrator=fitted, per_group="all", n=9, n_groups=9, abstention=rule
    )  # fmt: skip


TEMPERATURE = Temperature(slope=2.0)
RULE = Abstention(rule="risk", alpha=0.1, threshold=0.8, n=9)


@pytest.fixture
def three(make):
    texts = ["1.0", "0.1", "none"]
    return [make.case()] * 3, [make.candidate(text, n=n) for n, text in enumerate(texts)]


def test_a_score_becomes_the_probability_with_its_interval_beside_it(three):
    items = ScoredItems.of("answer", [0.0, 1.0, 0.2], [0, 1, 1], ["a", "b", "c"])
    output = CalibratedReward(Lengths(), calibration(VennAbers.fit(items))).score(*three)
    assert output.valid == (True, True, False) and output.reasons[2] == "no number"
    parts = output.components
    assert parts["p0"][0] <= output.mean[0] <= parts["p1"][0] and parts["probability"][:2] == output.mean[:2]
    assert parts["raw"][:2] == (1.0, 0.1) and parts["own"] == (7.0,) * 3 and "abstained" not in parts
    assert math.isnan(output.mean[2]) and math.isnan(parts["probability"][2])
    assert output.steps is None and all(math.isnan(std) for std in output.std)


def test_answers_on_which_the_rule_abstains_are_marked_and_if_wanted_invalid(three):
    made = calibration(TEMPERATURE, rule=RULE)
    marked = CalibratedReward(Lengths(), made).score(*three)
    assert marked.valid == (True, True, False) and marked.components["abstained"][:2] == (0.0, 1.0)
    cut = CalibratedReward(Lengths(), made, abstain=True).score(*three)
    assert cut.valid == (True, False, False) and cut.reasons[1].startswith("abstained: confidence 0.550")
    assert math.isnan(cut.mean[1]) and cut.components["probability"][1] == pytest.approx(0.55, abs=0.01)


def test_the_rewards_own_score_can_be_kept_with_its_steps(three):
    output = CalibratedReward(Lengths(), calibration(TEMPERATURE, rule=RULE), score="raw", abstain=True).score(
        *three
    )
    assert output.mean[0] == 1.0 and output.std[0] == 0.5 and output.steps == (((1, 1.0),), None, None)
    assert output.components["probability"][0] == pytest.approx(1 / (1 + math.exp(-2)))


def test_pairs_by_temperature_give_single_answers_log_odds(three):
    output = CalibratedReward(Lengths(), calibration(TEMPERATURE, "pair")).score(*three)
    assert output.mean[:2] == (2.0, 0.2) and output.std[:2] == (1.0, 1.0) and output.reasons[2] == "no number"


@pytest.mark.parametrize(
    ("fitted", "settings", "message"),
    [
        (Isotonic(knots=(0.0,), values=(0.5,)), {}, "by isotonic, in which a single answer has no score"),
        (Platt(slope=1.0, std_weight=1.0, uses_std=True), {}, "by platt, in which a single answer"),
        (Temperature(slope=0.0), {}, "no better than a coin"),
        (TEMPERATURE, {"abstain": True}, "a rule on pairs says nothing of one answer"),
    ],
)
def test_pairs_that_give_a_single_answer_no_score_are_refused(three, fitted, settings, message):
    with pytest.raises(ValueError, match=message):
        CalibratedReward(Lengths(), calibration(fitted, "pair", RULE), **settings).score(*three)


def test_two_answers_are_preferred_with_a_probability_that_swaps_with_them(make):
    cases = [make.case()] * 3
    first = [make.candidate(t, n=n) for n, t in enumerate(("2", "1", "none"))]
    second = [make.candidate(t, n=9) for t in ("1", "1", "3")]
    reward = CalibratedReward(Lengths(), calibration(TEMPERATURE, "pair", RULE))
    there, back = reward.prefer(cases, first, second), reward.prefer(cases, second, first)
    assert there[0].p == pytest.approx(1 / (1 + math.exp(-2))) and there[0].kept
    assert [a.p + b.p for a, b in zip(there[:2], back[:2], strict=True)] == pytest.approx([1, 1])
    assert there[1].p == 0.5 and not there[1].kept and there[1].reason.startswith("abstained")
    assert math.isnan(there[2].p) and there[2].reason == "no number" and not there[2].kept


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        (
            calibration(TEMPERATURE, judge="other@2"),
            {},
            "fitted to 'other@2' and the scores are those of 'lengths@1'",
        ),
        (calibration(TEMPERATURE), {"abstain": True}, "the calibration has no rule"),
        (calibration(TEMPERATURE), {"score": "logit"}, "use 'calibrated' or 'raw'"),
        (calibration(TEMPERATURE), {"settings": {"run": "x"}}, "reward is no name"),
    ],
)
def test_a_calibration_of_another_reward_and_wrong_settings_are_refused(made, settings, message):
    with pytest.raises(ValueError, match=message):
        CalibratedReward(Lengths(), made, **settings)


def test_a_reward_by_name_is_wrapped_by_name_with_its_settings(tmp_path, make):
    plain = load_reward("symbolic", logic="peripheral_smear", concepts=["leukocyte"])
    path = calibration(TEMPERATURE, judge=plain.name).save(tmp_path / "c.json")
    settings = {"logic": "peripheral_smear", "concepts": ["leukocyte"]}
    reward = load_reward("calibrated", reward="symbolic", settings=settings, calibration=str(path))
    case = make.case([make.finding("leukocyte", "present")])
    output = reward.score([case], [make.candidate("A leukocyte is present.")])
    assert output.mean[0] == pytest.approx(1 / (1 + math.exp(-2)))
    assert reward.name.startswith("calibrated@")
    assert reward.name != load_reward("calibrated", reward=plain, calibration=str(path), score="raw").name


class Members(Lengths):
    """Knows the doubt in differences alone, as an ensemble does."""

    def score(self, cases, candidates, images=None):
        return replace(super().score(cases, candidates), std=(math.nan,) * len(candidates))

    def score_margins(self, cases, firsts, seconds, images=None):
        return MarginOutput(self.score(cases, firsts), self.score(cases, seconds), (1.5,) * len(cases))


def test_a_pairs_own_doubt_is_used_as_it_was_in_the_calibration(make):
    platt = calibration(Platt(slope=2.0, std_weight=4.0, uses_std=True), "pair")
    pair = [make.case()], [make.candidate("2")], [make.candidate("1", n=1)]
    found = CalibratedReward(Members(), platt).prefer(*pair)
    assert found[0].p == pytest.approx(1 / (1 + math.exp(-2 / math.sqrt(1 + 4 * 1.5**2))))
    independent = CalibratedReward(Lengths(), platt).prefer(*pair)  # two answers of 0.5 each
    assert independent[0].p == pytest.approx(1 / (1 + math.exp(-2 / math.sqrt(1 + 4 * 0.5))))


class Ensemble(Members):
    """Tells the scores of two members, each 1 off the mean, in turns above and below."""

    def score(self, cases, candidates, images=None):
        output = super().score(cases, candidates)
        signs = [1.0 if n % 2 else -1.0 for n in range(len(candidates))]
        for k, sign in enumerate((-1.0, 1.0)):
            spread = [mean + sign * own for mean, own in zip(output.mean, signs, strict=True)]
            output = output.with_component(f"member_{k}", spread)
        return output


@pytest.mark.parametrize(
    ("made", "settings", "factor"),
    [
        (calibration(TEMPERATURE, "pair"), {}, 2.0),
        (calibration(TEMPERATURE, "pair"), {"score": "raw"}, 1.0),
        (calibration(TEMPERATURE), {"score": "raw"}, 1.0),
        (calibration(TEMPERATURE), {}, None),
    ],
)
def test_the_doubt_of_a_pair_is_in_the_units_of_its_scores(made, settings, factor, make):
    answers = [make.candidate("2"), make.candidate("1", n=1)]
    reward = CalibratedReward(Ensemble(), made, **settings)
    judged, _ = judge_candidates(reward, "x", [make.case()] * 2, answers, None)
    # members' margins are 3 and -1; of a probability no member tells anything
    assert margin_std(*judged) == (None if factor is None else pytest.approx(factor * math.sqrt(8)))
