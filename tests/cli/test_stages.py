"""Recipes and stages: what a file may say, and what it is told when it says something else."""

import inspect
import json
from pathlib import Path

import pytest
import yaml

from vlmalign.cli.demo_plan import PRESETS, Demo, plan
from vlmalign.cli.online_arms import chosen_algorithms, online_steps
from vlmalign.cli.stages import (
    STAGES,
    StageError,
    load_recipe,
    load_stages,
    merge,
    parse_settings,
    run_recipe_stage,
    run_stage,
)
from vlmalign.recipes import read_recipe, recipe_names
from vlmalign.records.suggestions import SettingsError


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_names_a_stage_and_keys_that_the_stage_knows(name):
    load_stages()
    recipe = load_recipe(read_recipe(name), name=name)
    assert recipe.about
    parameters = inspect.signature(STAGES[recipe.stage]).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        assert set(recipe.config) <= set(parameters)


def test_a_variable_keeps_its_type_where_it_is_the_whole_value():
    recipe = load_recipe("{stage: sft, vars: {n: 3, root: r}, config: {a: '${n}', b: '${root}/x-${n}'}}")
    assert recipe.config == {"a": 3, "b": "r/x-3"}


def test_given_variables_replace_the_defaults_and_unknown_ones_are_refused():
    text = "{stage: sft, vars: {root: a}, config: {out: '${root}'}}"
    assert load_recipe(text, {"root": "b"}).config == {"out": "b"}
    with pytest.raises(StageError, match="unknown key 'rot'. Did you mean 'root'"):
        load_recipe(text, {"rot": "b"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage: [", "not valid YAML"),
        ("[1, 2]", "a recipe is a mapping"),
        ("{stage: sft, config: {}, configs: {}}", "unknown key 'configs'. Did you mean 'config'"),
        ("{stage: sft, config: {out: '${nowhere}'}}", "names a variable that 'vars' does not define"),
    ],
)
def test_a_recipe_that_cannot_be_read_says_why(text, message):
    with pytest.raises(StageError, match=message):
        load_recipe(text)


def test_an_unknown_stage_or_key_names_the_nearest_known_one():
    with pytest.raises(StageError, match="unknown stage 'exprt'. Did you mean 'expert'"):
        run_stage("exprt", {})
    with pytest.raises(StageError, match="unknown key 'case'. Did you mean 'cases'"):
        run_stage("prompts", {"case": "x", "out": "y"})


def test_a_value_of_the_wrong_type_names_stage_key_and_value():
    with pytest.raises(StageError, match="stage 'prompts': key 'max_cases' is 'many'"):
        run_stage("prompts", {"cases": ["x"], "out": "y", "max_cases": "many"})


def test_a_misspelt_training_setting_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="learning_rat"):
        run_stage("sft", {"model": "m", "data": ["d"], "out": "o", "epochs": 1, "learning_rat": 1})


def test_only_what_is_wrong_with_settings_is_said_with_the_recipes_name(monkeypatch):
    """By the kind of error, not by how its message begins."""

    def fail(out, error):
        raise error("stage 3 anaemia is not known")

    monkeypatch.setitem(STAGES, "fail", fail)
    with pytest.raises(ValueError, match="^stage 3 anaemia"):
        run_recipe_stage("fail", {"out": "o", "error": ValueError}, name="mine.yaml")
    with pytest.raises(StageError, match="^mine.yaml, stage 3 anaemia"):
        run_recipe_stage("fail", {"out": "o", "error": SettingsError}, name="mine.yaml")


def test_settings_are_merged_key_by_key():
    base = {"pairing": {"min_margin": 0.25, "mode": "best_worst"}, "seed": 0}
    changed = merge(base, parse_settings(["pairing.min_margin=0.5", "seed=3"]))
    assert changed == {"pairing": {"min_margin": 0.5, "mode": "best_worst"}, "seed": 3}


@pytest.mark.parametrize("source", ["smear", "bccd"])
def test_every_step_of_the_demo_stands_behind_what_it_needs(source, tmp_path):
    data = tmp_path if source == "bccd" else None
    demo = Demo(tmp_path, source, data, 0, PRESETS["full"])
    steps = [*plan(demo), *online_steps(demo, ["dpo", "ppo", "grpo"])]
    seen: set[str] = set()
    for step in steps:
        assert set(step.needs) <= seen, step
        seen.add(step.name)


@pytest.mark.parametrize(
    ("align", "message"),
    [("dpo,pgo", "unknown algorithm 'pgo'. Did you mean 'ppo'"), ("grpo", "compared with dpo: add it")],
)
def test_a_demo_without_dpo_or_of_an_unknown_algorithm_is_refused(align, message):
    with pytest.raises(ValueError, match=message):
        chosen_algorithms(align)


def test_online_arms_read_no_answer_and_choose_by_the_proxy_alone(tmp_path):
    """The truth of the validation slides is measured; test cases are not looked at."""
    demo = Demo(tmp_path, "smear", None, 0, PRESETS["full"])
    steps = {s.name: s for s in online_steps(demo, ["dpo", "grpo", "ppo"])}
    for name in ("ppo_expert", "grpo_expert", "ppo_reward", "grpo_reward"):
        config = steps[name].config
        assert config["data"] == [str(tmp_path / "prompts")] and config["eval_data"] == [
            str(tmp_path / "validation")
        ]
        assert config["gold"]["name"] == "symbolic" and config["reward"]["name"] != "symbolic"
    assert "run" in steps["ppo_reward"].config["reward"]["settings"]


def test_the_pair_builder_of_the_demo_is_never_pointed_at_answers(tmp_path):
    """Pairs come from prompts without references and from findings; labels and test answers are elsewhere."""
    steps = {s.name: s for s in plan(Demo(tmp_path, "smear", None, 0, PRESETS["full"]))}
    for name in ("pairs", "edits", "reward_data"):
        config = steps[name].config
        assert config["cases"] == str(tmp_path / "prompts")
        assert {Path(f).parent.name for f in config["findings"]} == {"findings"}
    assert steps["prompts"].stage == "prompts"


def test_a_builder_takes_its_settings_from_a_recipe_and_options_go_before_it(vlmalign, refused, cases, tmp_path):
    recipe = {
        "stage": "demonstrations", "vars": {"n": 1},
        "config": {"cases": str(cases), "logic": "peripheral_smear", "from_reference": True, "seed": "${n}",
                   "kinds": ["report"], "out": str(tmp_path / "recipe")},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    assert vlmalign("build", "demonstrations", "mine.yaml", "--var", "n=3").code == 0
    config = json.loads((tmp_path / "recipe" / "manifest.json").read_text())["config"]
    assert config["seed"] == 3 and config["kinds"] == ["report"]
    assert vlmalign("build", "demonstrations", "mine.yaml", "--out", "other", "--seed", 0).code == 0
    assert json.loads((tmp_path / "other" / "manifest.json").read_text())["config"]["seed"] == 0
    refused(
        "build", "edits", "mine.yaml", says="mine.yaml: this is a recipe of stage 'demonstrations', not of 'edits'"
    )
    refused("build", "demonstrations", "--cases", cases, "--logic", "x", says="out is not given: pass --out")
    refused("build", "demonstrations", "--var", "n=3", says="there is no recipe to fill")


def test_a_recipe_that_is_not_there_is_answered_with_the_nearest_or_with_where_they_are_listed():
    with pytest.raises(FileNotFoundError, match="Did you mean 'smear-sft'"):
        read_recipe("smear-sftt")
    with pytest.raises(FileNotFoundError, match="Check the path, or take one of `vlmalign recipes list`"):
        read_recipe("runs/mine.yaml")
