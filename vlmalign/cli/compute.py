"""What stages cost in floating point operations, so that arms can be given equal compute."""

from __future__ import annotations

import json
from pathlib import Path

from vlmalign.cli.generate import MEGAFLOPS
from vlmalign.records import read_manifest


def flops_of_run(run: str | Path) -> float:
    """Operations of a training run, reference passes included, from its `summary.json`.

    Raises:
        FileNotFoundError: the run is not complete.
    """
    path = Path(run) / "summary.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {run} is no complete run. Run it first.")
    return float(json.loads(path.read_text())["flops"]["total"])


def flops_of_sampling(candidates: str | Path) -> float:
    """Operations that sampling a folder of candidates took, from its manifest."""
    return 1e6 * read_manifest(candidates).counts[MEGAFLOPS]
