import copy

import pytest

from vlmalign.evaluation import check_results


def test_a_whole_results_file_passes(results):
    check_results(results, complete=True)


def test_a_run_of_ones_own_may_lack_sections(results):
    check_results({"arms": {"mine": {"invalid_rate": results["arms"]["dpo"]["invalid_rate"]}}})


def test_a_complete_file_names_what_it_lacks(results):
    broken = copy.deepcopy(results)
    del broken["expert"], broken["arms"]["dpo"]["path_consistency"], broken["comparisons"]["dpo_minus_sft_edited"]
    del broken["dpo_against_sft_more"]["question_accuracy"]
    with pytest.raises(ValueError) as error:
        check_results(broken, complete=True)
    for name in (
        "expert: section",
        "arms.dpo.path_consistency",
        "comparisons.dpo_minus_sft_edited",
        "dpo_against_sft_more.question_accuracy",
    ):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mean": float("nan")}, "mean"),
        ({"low": 0.9}, "upside down"),
        ({"n": 0}, "nothing was scored"),
        ({"mean": 1.5, "high": 1.6}, "share"),
        ({"excluded": -1}, "excluded"),
        ({"excluded": None}, "excluded"),
    ],
)
def test_a_score_that_contradicts_itself_is_refused_by_name(results, change, named):
    broken = copy.deepcopy(results)
    broken["arms"]["dpo"]["whole_report_accuracy"] |= change
    with pytest.raises(ValueError, match=named) as error:
        check_results(broken)
    assert "arms.dpo.whole_report_accuracy" in str(error.value)


def test_a_score_without_its_interval_is_refused(results):
    broken = copy.deepcopy(results)
    del broken["reward_model"]["role_swapped"]["low"]
    with pytest.raises(ValueError, match="reward_model.role_swapped.low"):
        check_results(broken)


def test_a_comparison_without_a_conclusion_is_refused(results):
    broken = copy.deepcopy(results)
    del broken["comparisons"]["dpo_minus_sft_more"]["conclusion"]
    with pytest.raises(ValueError, match="conclusion"):
        check_results(broken)
