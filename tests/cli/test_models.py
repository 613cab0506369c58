from rich.console import Console
from typer.testing import CliRunner

from vlmalign.cli.main import app
from vlmalign.models.family import PROVED


def test_every_proved_family_is_listed_with_what_it_refuses(monkeypatch):
    monkeypatch.setattr("vlmalign.cli.models.console", Console(width=300))
    shown = " ".join(CliRunner().invoke(app, ["models"]).output.split())
    for model_type, family in PROVED.items():
        assert family.name in shown and f" {model_type} " in shown
    assert "prompts without an image: its processor only makes prompts about images" in shown
