"""The checkpoint that comes with the package."""

from pathlib import Path

import pytest

from vlmalign.models.builtin import builtin_checkpoints, resolve_checkpoint
from vlmalign.models.loading import load_vlm


def test_the_starting_checkpoint_ships_loads_and_is_small():
    assert builtin_checkpoints() == ["smear-base"]
    folder = Path(resolve_checkpoint("builtin:smear-base"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000_000
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".jinja"}
    assert load_vlm("builtin:smear-base").model.config.model_type == "llava"


def test_an_unknown_checkpoint_names_those_there_are():
    with pytest.raises(FileNotFoundError, match="'smear-bas'. There are: smear-base"):
        resolve_checkpoint("builtin:smear-bas")
