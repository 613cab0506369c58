import math

import pytest

from vlmalign.rewards import Reward, RewardOutput, SymbolicReward
from vlmalign.rewards.protocol import check_aligned

NAN = math.nan


def test_an_unscored_candidate_has_no_number_and_a_reason():
    output = RewardOutput.of([1.0, None], reasons=[None, "no claim parsed"], components=[{"correct": 2.0}, {}])
    assert output.valid == (True, False) and math.isnan(output.mean[1])
    assert output.components["correct"][0] == 2.0 and math.isnan(output.components["correct"][1])
    assert all(math.isnan(std) for std in output.std)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (0.5,), "valid": (False,), "reasons": ("x",)}, "its mean must be NaN"),
        ({"mean": (NAN,), "valid": (False,), "reasons": (None,)}, "its reason given"),
        ({"mean": (NAN,), "valid": (True,), "reasons": (None,)}, "is valid and its mean is nan"),
        ({"mean": (math.inf,), "valid": (True,), "reasons": (None,)}, "is valid and its mean is inf"),
        ({"mean": (1.0, 2.0), "valid": (True,), "reasons": (None,)}, "std has 1 entries, mean has 2"),
    ],
)
def test_a_number_without_validity_or_the_other_way_round_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RewardOutput(std=(NAN,), **fields)


def test_candidates_of_another_case_are_refused(make):
    with pytest.raises(ValueError, match="'c1/0' answers case 'c1', not 'c0'"):
        check_aligned([make.case()], [make.candidate("x", i=1)], None)
    with pytest.raises(ValueError, match="1 cases, 0 candidates"):
        check_aligned([make.case()], [], None)


def test_our_rewards_keep_the_protocol():
    assert isinstance(SymbolicReward("peripheral_smear"), Reward)


def test_scores_of_some_are_spread_over_all_with_the_reason_of_the_others():
    some = RewardOutput.of(
        [1.0, 2.0], reasons=[None, None], std=[0.1, 0.2], components=[{"a": 1.0}, {"a": 2.0}],
        steps=[((1, 1.0),), ((2, 2.0),)], flops=7.0,
    )  # fmt: skip
    spread = some.spread([2, 0], 3, reason="cut")
    assert spread.mean[0] == 2.0 and math.isnan(spread.mean[1]) and spread.mean[2] == 1.0
    assert spread.valid == (True, False, True) and spread.reasons == (None, "cut", None)
    assert spread.steps == (((2, 2.0),), None, ((1, 1.0),)) and spread.flops == 7.0
    assert spread.components["a"][0] == 2.0 and math.isnan(spread.components["a"][1])


@pytest.mark.parametrize("steps", [(), ((5, 1.0), (3, 1.0)), None])
def test_steps_that_do_not_ascend_or_are_missing_are_refused(steps):
    with pytest.raises(ValueError, match="candidate 0 is valid and its steps end at"):
        RewardOutput.of([1.0], reasons=[None], steps=[steps])
