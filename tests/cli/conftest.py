"""The command line in this process, on tiny folders and a tiny model made once."""

import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from transformers.utils.logging import disable_progress_bar

from data_builders import build_demonstrations
from data_builders.sources import build_smear
from vlmalign.cli.main import main
from vlmalign.clinical import load_logic
from vlmalign.models import build_tiny_llava, save_vlm

torch.set_num_threads(1)
disable_progress_bar()  # main() does so by the environment, but here transformers is already imported


class Result(NamedTuple):
    """What a command left: exit code, standard output and standard error, line breaks made spaces."""

    code: int
    out: str
    err: str


@pytest.fixture
def vlmalign(monkeypatch, capfd, tmp_path):
    """Run a command as the shell would, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vlmalign", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


@pytest.fixture
def refused(vlmalign):
    """Run a command that must fail: exit code 2, one message without traceback, all the given words in it."""

    def run(*arguments, says=()):
        result = vlmalign(*arguments)
        assert result.code == 2, result
        assert "Traceback" not in result.err
        assert result.err.startswith("error: ") and result.err.count("\n") == 1, result.err
        for words in [says] if isinstance(says, str) else says:
            assert words in result.err
        return result.err

    return run


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return tmp_path_factory.mktemp("workshop")


@pytest.fixture(scope="session")
def tiny(workshop):
    """A model folder."""
    vlm = build_tiny_llava(
        ["Describe this blood smear field.", "No leukocyte is seen.", "Red cells are crowded."],
        image_size=32, patch_size=16, hidden=32, layers=1, vision_hidden=32, vision_layers=1, heads=2,
        vocab_size=300,
    )  # fmt: skip
    save_vlm(vlm, workshop / "tiny")
    return workshop / "tiny"


@pytest.fixture(scope="session")
def cases(workshop):
    """Six phantom fields of three slides."""
    return build_smear(workshop / "cases", n_groups=3, fields_per_group=2, size=32)


@pytest.fixture(scope="session")
def demos(workshop, cases):
    """Twelve demonstrations of the cases."""
    out = workshop / "demos"
    build_demonstrations(cases, out, logic=load_logic("peripheral_smear"), findings="reference")
    return out


@pytest.fixture(scope="session")
def sft_settings(tiny, demos):
    return {
        "model": str(tiny), "data": [str(demos)], "max_steps": 2, "batch_size": 2, "learning_rate": 1e-2,
        "logging_steps": 1, "device": "cpu",
    }  # fmt: skip


@pytest.fixture
def recipe(tmp_path, sft_settings):
    """Write a recipe file; settings are those of a tiny SFT, changed by the keywords."""

    def write(stage="sft", name="recipe.yaml", **changes):
        config = {**sft_settings, "out": str(tmp_path / "run"), **changes}
        path = tmp_path / name
        path.write_text(yaml.safe_dump({"stage": stage, "about": "a test", "config": config}))
        return path

    return write


@pytest.fixture(scope="session")
def runs(workshop, sft_settings):
    """A finished run of all weights and one with LoRA."""
    from vlmalign.training import SftConfig, make_config, train_sft

    def train(name, **changes):
        out = workshop / name
        train_sft(make_config(SftConfig, {**sft_settings, "out": str(out), **changes}))
        return out

    return {"plain": train("plain"), "lora": train("lora", lora={"rank": 2})}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def contents_of():
    return contents


@pytest.fixture
def killed(monkeypatch):
    """Run a command in a forked process that is killed (-9) in the middle of writing its n-th unit."""

    def run(n, *arguments):
        child = os.fork()
        if child == 0:
            _die_in_unit(n)
            sys.argv = ["vlmalign", *map(str, arguments)]
            try:
                main()
            finally:
                os._exit(7)  # it was to be killed before
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

    return run


def _die_in_unit(n: int) -> None:
    from vlmalign.records import build

    written = 0

    def append(path, journal, line):
        nonlocal written
        written += 1
        journal.write(line if written < n else line[: len(line) // 2])
        journal.flush()
        if written == n:
            os.kill(os.getpid(), signal.SIGKILL)

    build.append = append
