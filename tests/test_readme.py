"""The README tells the truth: its example runs, its length, its commands exist."""

import re
from pathlib import Path

from typer.testing import CliRunner

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_finds_what_it_says(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "leukocyte = absent" in out
    assert "can all be true together: False" in out
    assert "comparison" in out


def test_the_example_has_at_most_ten_lines_and_the_readme_at_most_150():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    assert len(README.splitlines()) <= 150


def test_every_verb_that_the_readme_names_exists():
    from vlmalign.cli.main import app

    result = CliRunner().invoke(app, ["--help"])
    for verbs in re.findall(r"^vlmalign ([a-z|-]+)", README, re.MULTILINE):
        for verb in verbs.split("|"):
            assert verb in result.output
