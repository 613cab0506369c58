import json
import math
from pathlib import Path

import pytest
import torch

from vlmalign.records import DataError
from vlmalign.training import DpoConfig, train_dpo
from vlmalign.training.preference_loss import LOSSES
from vlmalign.training.reference import Reference


@pytest.fixture
def settings(still_settings):
    return still_settings


def test_the_first_steps_loss_is_log_two(settings, pairs, metrics_of):
    first = metrics_of(train_dpo(DpoConfig(**{**settings, "data": pairs})))[0]
    assert first["preference_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert first["chosen_reward"] == pytest.approx(0, abs=1e-4)


def test_training_raises_the_chosen_answers_over_the_rejected_ones(settings, pairs, metrics_of):
    config = {**settings, "data": pairs, "max_steps": 60, "learning_rate": 1e-2, "loss": {"beta": 0.5}}
    last = [line for line in metrics_of(train_dpo(DpoConfig(**config))) if "loss" in line][-1]
    assert last["accuracy"] == 1.0 and last["margin"] > 1
    assert last["chosen_reward"] > last["rejected_reward"]
    assert last["chosen_tokens"] > 1 and last["rejected_tokens"] > 1


def test_the_reference_is_computed_once_and_covers_every_pair(settings, pairs):
    run = train_dpo(DpoConfig(**{**settings, "data": pairs, "max_steps": 1}))
    reference = Reference.load(run / "reference.safetensors")
    assert len(reference.row) == 8 and bool(reference.logps.isfinite().all()) and bool((reference.logps < 0).all())
    flops = json.loads((run / "summary.json").read_text())["flops"]
    assert flops["reference"] == reference.flops > 0
    assert flops["total"] == flops["reference"] + flops["training"]


def test_a_reference_with_a_hole_is_refused(tmp_path):
    reference = Reference(["a", "b"], torch.tensor([[-1.0, -2.0], [-3.0, math.nan]]), 1.0)
    reference.save(tmp_path / "r")
    loaded = Reference.load(tmp_path / "r")
    assert loaded.of(["a"]).tolist() == [[-1.0, -2.0]]
    with pytest.raises(ValueError, match="no reference log-probabilities of 2 of 3 pairs, e.g. 'b'"):
        loaded.check_covers(["a", "b", "c"], tmp_path / "r")


def test_a_resumed_run_keeps_the_reference_it_began_with(settings, pairs, first_step_at):
    first = first_step_at(DpoConfig(**{**settings, "data": pairs}), [-1.0, 0.0])
    assert first["chosen_reward"] == pytest.approx(-0.1, abs=1e-4)  # beta * -1


def test_a_run_that_ended_before_its_first_step_leaves_no_reference_to_corrected_settings(
    settings, pairs, monkeypatch
):
    import vlmalign.training.trainer as trainer

    with monkeypatch.context() as patch:
        patch.setattr(trainer.StageTrainer, "train", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            train_dpo(DpoConfig(**{**settings, "data": pairs}))
    run = train_dpo(DpoConfig(**{**settings, "data": pairs, "loss": "kto", "max_steps": 1}))
    assert Reference.load(run / "reference.safetensors").logps.shape == (8, 3)


def test_an_anchor_keeps_teaching_its_demonstrations(settings, pairs, make_demos, metrics_of, tmp_path):
    demos = make_demos(n=3)
    config = {**settings, "data": pairs, "max_steps": 12, "learning_rate": 1e-2}
    plain = {**config, "out": str(tmp_path / "plain_run"), "anchor_data": demos, "anchor_weight": 1e-9}
    strong = {**config, "out": str(tmp_path / "anchored"), "anchor_data": demos, "anchor_weight": 5.0}
    losses = [metrics_of(train_dpo(DpoConfig(**c)))[-1]["anchor_token_loss"] for c in (plain, strong)]
    assert losses[1] < 0.7 * losses[0]


def test_the_sft_term_is_added_to_the_loss(settings, pairs, metrics_of):
    first = metrics_of(train_dpo(DpoConfig(**{**settings, "data": pairs, "max_steps": 1, "sft_weight": 0.5})))[0]
    assert first["loss"] == pytest.approx(first["preference_loss"] + 0.5 * first["chosen_token_loss"], rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"mm_dpo", "plackett_luce"}))
def test_every_loss_trains_the_chosen_answers_over_the_rejected_ones(settings, pairs, metrics_of, name):
    config = {**settings, "data": pairs, "max_steps": 40, "learning_rate": 1e-2, "loss": name}
    run = train_dpo(DpoConfig(**config))
    lines = [line for line in metrics_of(run) if "loss" in line]
    before, after = (line["chosen_logp"] - line["rejected_logp"] for line in (lines[0], lines[-1]))
    assert after > before + 1
    free = name in ("cpo", "simpo", "orpo")
    assert (run / "reference.safetensors").exists() != free and ("kl" in lines[-1]) != free


@pytest.mark.parametrize("settings_of_loss", [{"loss": "sigmoid", "sft_weight": 0.5}, {"loss": "mm_dpo"}])
def test_pairs_of_a_case_run_together_learn_what_they_learn_apart(
    settings, make_ranked, metrics_of, tmp_path, settings_of_loss
):
    found = []
    for grouped, batch in ((False, 6), (True, 2)):  # three pairs a case
        config = {**settings, **settings_of_loss, "data": make_ranked(cases=2), "group_pairs": grouped}
        config |= {"batch_size": batch, "max_steps": 3, "out": str(tmp_path / f"run{grouped}")}
        run = train_dpo(DpoConfig(**config))
        lines = [line for line in metrics_of(run) if "loss" in line]
        found.append([[line[name] for name in ("loss", "margin", "kl", "accuracy")] for line in lines])
        found[-1].append([json.loads((run / "summary.json").read_text())["flops"]["total"]])
    (*apart, [flops_apart]), (*together, [flops_together]) = found
    for a, b in zip(apart, together, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-5)
    assert flops_together < 0.6 * flops_apart


def test_reward_scaling_needs_margins_and_they_change_what_is_learned(settings, make_pairs, metrics_of, tmp_path):
    config = {**settings, "max_steps": 3, "learning_rate": 1e-2, "loss": "mm_dpo"}
    with pytest.raises(DataError, match="loss 'mm_dpo' needs margins and the pair has none"):
        train_dpo(DpoConfig(**{**config, "data": make_pairs(n=4, margin=None)}))
    assert not Path(settings["out"]).exists()
    losses = []
    for margin in (0.1, 3.0):
        data = make_pairs(n=4, margin=margin)
        run = train_dpo(DpoConfig(**{**config, "data": data, "out": str(tmp_path / f"run{margin}")}))
        losses.append(metrics_of(run)[-1]["preference_loss"])
    assert losses[0] != losses[1]


def test_the_reference_pass_counts_towards_the_budget(settings, pairs, tmp_path):
    probe = train_dpo(DpoConfig(**{**settings, "data": pairs, "max_steps": 4}))
    flops = json.loads((probe / "summary.json").read_text())["flops"]
    budget = flops["reference"] + 5.5 * flops["training"] / 4
    config = {**settings, "data": pairs, "max_steps": None, "max_flops": budget, "out": str(tmp_path / "budget")}
    summary = json.loads((train_dpo(DpoConfig(**config)) / "summary.json").read_text())
    assert summary["steps"] == 5 and summary["flops"]["total"] <= budget


def test_a_budget_that_pays_for_no_step_is_refused_before_anything_is_written_or_replaced(settings, pairs):
    too_little = DpoConfig(**{**settings, "data": pairs, "max_steps": None, "max_flops": 1.0})
    with pytest.raises(ValueError, match="raise max_flops"):
        train_dpo(too_little)
    assert not Path(settings["out"]).exists()
    run = train_dpo(DpoConfig(**{**settings, "data": pairs, "max_steps": 1}))
    summary = (run / "summary.json").read_bytes()
    with pytest.raises(ValueError, match="raise max_flops"):
        train_dpo(too_little, overwrite=True)
    assert (run / "summary.json").read_bytes() == summary


def test_held_out_pairs_are_evaluated_against_their_own_reference(settings, pairs, make_pairs):
    held_out = make_pairs(n=4, first=60, split="test")
    run = train_dpo(DpoConfig(**{**settings, "data": pairs, "eval_data": held_out}))
    evaluation = json.loads((run / "summary.json").read_text())["evaluation"]
    assert 0 <= evaluation["eval_accuracy"] <= 1
    assert len(Reference.load(run / "reference.safetensors").row) == 12
