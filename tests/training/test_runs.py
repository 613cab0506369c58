import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from vlmalign.models.loading import model_folder
from vlmalign.records import DataError
from vlmalign.training import RunFolder, SftConfig, train_sft
from vlmalign.training.runs import model_hash


@pytest.fixture
def config(settings, demos):
    return SftConfig(**settings, data=demos)


def changed(config, **changes):
    return SftConfig.model_validate({**config.model_dump(), **changes})


def begun(config, **options):
    run = RunFolder("sft", config, **options)
    run.begin()
    return run


def test_a_run_folder_says_what_made_it(config, demos, tiny_folder):
    run = train_sft(config)
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["data"].keys() == {demos} and provenance["model"] == model_hash(tiny_folder)
    assert provenance["versions"]["torch"] and provenance["seed"] == 0
    assert SftConfig.model_validate(yaml.safe_load((run / "config.yaml").read_text())) == config
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 6 and summary["epochs"] == 1.5 and summary["flops"]["total"] > 0
    assert not (run / "checkpoints").exists()


def test_the_same_command_on_a_complete_run_does_nothing(config):
    run = train_sft(config)
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    assert train_sft(config) == run
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_another_config_in_the_same_folder_is_refused_with_the_difference(config):
    begun(config).log({"step": 1})
    with pytest.raises(FileExistsError, match="learning_rate: 0.001 there, 0.5 here"):
        RunFolder("sft", changed(config, learning_rate=0.5))
    with pytest.raises(FileExistsError, match="content of stage changed"):
        RunFolder("dpo", config)


def test_overwriting_starts_anew(config):
    begun(config).log({"step": 1})
    run = begun(changed(config, seed=5), overwrite=True)
    assert not (run.path / "metrics.jsonl").exists()
    assert yaml.safe_load((run.path / "config.yaml").read_text())["seed"] == 5


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("fault", ["too long", "damaged model"])
def test_the_old_run_stays_whole_until_the_new_one_has_loaded(config, tiny_folder, tmp_path, fault):
    run = train_sft(config)
    before = contents(run)
    if fault == "too long":
        new = changed(config, max_length=3)
    else:
        damaged = shutil.copytree(tiny_folder, tmp_path / "damaged")
        (damaged / "model.safetensors").write_bytes(b"x")
        new = changed(config, model=str(damaged))
    with pytest.raises(ValueError, match="max_length is 3|damaged"):
        train_sft(new, overwrite=True)
    assert contents(run) == before and not (tmp_path / ".run.overwritten").exists()


def test_a_run_killed_while_it_is_replaced_is_put_back(config, tmp_path, monkeypatch):
    run = train_sft(config)
    before = contents(run)
    new = RunFolder("sft", changed(config, seed=5), overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_create", lambda self: os._exit(9))
        if (child := os.fork()) == 0:
            new.begin()
        os.waitpid(child, 0)
    assert not run.exists()
    with pytest.raises(FileExistsError, match="seed: 0 there, 5 here.*pass --overwrite to replace it"):
        RunFolder("sft", changed(config, seed=5))
    assert contents(run) == before
    begun(changed(config, seed=5), overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} >= {"run"} and not (tmp_path / ".run.overwritten").exists()


def test_a_disk_that_is_full_when_the_new_run_begins_leaves_the_old_one(config, monkeypatch):
    run = train_sft(config)
    before = contents(run)
    new = RunFolder("sft", changed(config, seed=5), overwrite=True)

    def full(self):
        self.path.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "_create", full)
    with pytest.raises(OSError, match="No space"):
        new.begin()
    assert contents(run) == before


def test_the_same_command_with_overwrite_continues_a_stopped_run_and_replaces_a_complete_one(config, monkeypatch):
    first = begun(changed(config, seed=5))
    first.log({"step": 1})
    again = begun(changed(config, seed=5), overwrite=True)
    assert (again.path / "metrics.jsonl").exists()
    again.finish({})
    assert again.finished
    replacing = RunFolder("sft", changed(config, seed=5), overwrite=True)
    assert not replacing.finished
    replacing.begin()
    assert not (replacing.path / "summary.json").exists()


def test_a_run_is_not_overwritten_by_one_that_starts_from_it(config):
    run = train_sft(config)
    with pytest.raises(ValueError, match="model is .*which is what --overwrite replaces"):
        RunFolder("sft", changed(config, model=str(run)), overwrite=True)


def test_a_moved_run_folder_is_still_the_same_run(config):
    run = begun(config)
    moved = run.path.with_name("moved")
    shutil.move(run.path, moved)
    RunFolder("sft", changed(config, out=str(moved)))


def test_data_that_changed_under_the_run_is_noticed(config, make_demos):
    begun(config).log({"step": 1})
    with pytest.raises(FileExistsError, match="content of data changed|data: "):
        RunFolder("sft", changed(config, data=[{"path": make_demos(n=3)}]))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_touched(config, overwrite):
    path = Path(config.out)
    path.mkdir()
    (path / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="not a run folder"):
        RunFolder("sft", config, overwrite=overwrite)
    assert (path / "thesis.tex").exists()


def test_evaluation_data_that_shares_a_group_with_training_is_refused(config, make_demos):
    leaking = make_demos(n=2, first=0, split="test")
    with pytest.raises(DataError, match="groups are in training and in evaluation"):
        RunFolder("sft", changed(config, eval_data=[{"path": leaking}]))
    assert not Path(config.out).exists()


def test_metrics_of_steps_that_will_be_repeated_and_a_torn_line_are_dropped(config):
    run = begun(config)
    for step in (1, 2, 3):
        run.log({"step": step})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    run.forget_after(2)
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_run_can_be_named_as_the_starting_model_once_it_is_complete(config, settings):
    run = train_sft(config)
    assert model_folder(run) == str(run / "model")
    (run / "summary.json").unlink()
    with pytest.raises(FileNotFoundError, match="not complete"):
        model_hash(run)
