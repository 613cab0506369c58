"""Expert inference over many processes and machines with Ray Data; the extra `ray` brings it.

The driver reads the cases and commits the findings in order; workers open the images and examine them, each batch
as the serial run would. So many batches are on their way at a time as keep the workers busy, and memory stays
bounded.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experts.examining import examine_cases
from experts.protocol import Examination
from experts.registry import load_expert
from vlmalign.records import Case, RecordFolder

AHEAD = 16  # batches of each worker in one round


def examine_on_ray(
    expert_folder: str | Path,
    source: RecordFolder[Case],
    batches: Iterable[tuple[int, list[Case]]],
    workers: int | None = None,
) -> Iterator[tuple[int, list[Case], list[Examination]]]:
    """Examine batches of cases on Ray, in order.

    Args:
        expert_folder: the expert, at a place that all machines see.
        source: the cases' folder, likewise.
        batches: numbered.
        workers: processes; None: one for each CPU of the cluster.

    Raises:
        ImportError: Ray is not installed.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    if ours:
        local = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        ray.init(logging_level="ERROR", log_to_driver=False, **local)
    try:
        yield from _rounds(ray, expert_folder, source, batches, workers)
    finally:
        if ours:
            ray.shutdown()


def import_ray() -> Any:
    """Ray with its data library.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data
    except ImportError:
        raise ImportError(
            "backend 'ray' needs Ray: pip install 'vlmalign[ray]', or use backend 'serial'"
        ) from None
    return ray


def _rounds(
    ray: Any,
    expert_folder: str | Path,
    source: RecordFolder[Case],
    batches: Iterable[tuple[int, list[Case]]],
    workers: int | None,
) -> Iterator[tuple[int, list[Case], list[Examination]]]:
    import torch

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    given = {
        "expert_folder": str(Path(expert_folder).resolve()),
        "cases_folder": str(source.path.resolve()),
        "threads": torch.get_num_threads(),
    }
    remaining = iter(batches)
    while some := list(itertools.islice(remaining, count * AHEAD)):
        rows = [{"number": number, "cases": [case.to_line() for case in cases]} for number, cases in some]
        examined = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Examiner, fn_constructor_kwargs=given, batch_size=1, compute=ray.data.ActorPoolStrategy(size=count)
        )
        for (number, cases), row in zip(some, examined.iter_rows(), strict=True):
            assert row["number"] == number, f"batch {row['number']} came in the place of {number}"
            yield number, cases, row["examinations"]


class Examiner:
    """One worker: loads the expert once, then examines batches.

    Args:
        expert_folder: of the expert.
        cases_folder: of the cases whose images it opens.
        threads: of torch, as in the driver: other numbers of threads may round otherwise.
    """

    def __init__(self, expert_folder: str, cases_folder: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.expert = load_expert(expert_folder)
        self.source: RecordFolder[Case] = RecordFolder(cases_folder, Case)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Examine the cases of one row."""
        found = np.empty(len(batch["number"]), dtype=object)
        for place, lines in enumerate(batch["cases"]):
            cases = [Case.model_validate_json(line) for line in lines]
            found[place] = examine_cases(self.expert, self.source, cases)
        return {"number": batch["number"], "examinations": found}
