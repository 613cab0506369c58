"""The comparison of rewards from end to end, at a size that is too small for conclusions."""

import json
import re

import pytest

from vlmalign.cli.demo_plan import PRESETS, Demo
from vlmalign.cli.reward_comparison import reward_comparison
from vlmalign.cli.reward_comparison_plan import compared, comparison_steps

SETTINGS = {"seed": 100, "ppo_seeds": 1, "jobs": 2, "preset": "quick"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "out"
    reward_comparison(out=out, **SETTINGS)
    return out


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished / "results.json").read_text())


def names(finished):
    return {reward.name for reward in compared(Demo(finished, "smear", None, 100, PRESETS["quick"]))}


def test_every_reward_has_its_figures_with_interval_and_n(finished, results):
    assert set(results["rewards"]) == names(finished)
    for reward in results["rewards"].values():
        for name in ("pair_accuracy", "pair_accuracy_tuned", "role_swapped"):
            assert {"mean", "low", "high", "n", "excluded"} <= set(reward[name])


def test_text_alone_gets_one_half_of_every_scored_item(results):
    blanked = [r["role_swapped_blanked"] for r in results["rewards"].values() if "role_swapped_blanked" in r]
    assert len(blanked) == len(results["rewards"]) - 1  # the expert looks at no picture that could be blanked
    assert all(estimate["mean"] in (None, pytest.approx(0.5)) for estimate in blanked)


def test_what_the_std_adds_is_told_where_there_is_a_std(results):
    for name, reward in results["rewards"].items():
        knows = name in ("laplace", "dropout", "ensemble", "heteroscedastic", "evidential", "expert_verified")
        assert (reward["auroc_gain"] is not None) == knows or reward["no_std"]


def test_both_arms_of_online_training_lie_on_one_grid_of_kl(results):
    plain, pessimistic = results["ppo"]["plain"], results["ppo"]["pessimistic"]
    assert [point["kl"] for point in plain] == [point["kl"] for point in pessimistic]
    assert plain[0]["kl"] == 0 and plain[0]["gold"] == pytest.approx(pessimistic[0]["gold"])


def test_the_report_is_one_file_without_scripts_or_addresses(finished):
    page = (finished / "report.html").read_text()
    assert "Does a reward know when it errs?" in page and "Proxy and gold over KL" in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)


def test_the_same_command_finds_the_same_and_another_is_refused(finished, results):
    reward_comparison(out=finished, **SETTINGS)
    again = json.loads((finished / "results.json").read_text())
    assert again | {"seconds": None} == results | {"seconds": None}
    with pytest.raises(ValueError, match="holds a comparison with other settings"):
        reward_comparison(out=finished, **{**SETTINGS, "seed": 101})


def test_photographs_need_their_folder(tmp_path):
    with pytest.raises(ValueError, match="--source bccd needs --data"):
        reward_comparison(out=tmp_path / "out", source="bccd")


def test_steps_stand_behind_what_they_need(tmp_path):
    for source, online in (("smear", 2), ("bccd", 0)):
        steps = comparison_steps(Demo(tmp_path, source, tmp_path, 0, PRESETS["full"]), 1)
        known: set[str] = set()
        for step in steps:
            assert known.issuperset(step.needs), step.name
            known.add(step.name)
        assert sum(name.startswith("ppo_") for name in known) == online
