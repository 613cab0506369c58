"""A pipeline of stages: each waits for the ones it needs, several run at once, all can be continued.

Every stage writes one folder and does nothing when that folder is complete, so a pipeline that was
stopped (or killed) is continued by the same command. Seconds are kept in `seconds.json`, one entry per
step: its longest call, since a call on a complete folder takes no time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vlmalign.cli.console import errors
from vlmalign.cli.failures import describe
from vlmalign.cli.stages import StageError, run_stage
from vlmalign.records.writing import write_atomic

SECONDS = "seconds.json"


@dataclass(frozen=True)
class Step:
    """One stage of a pipeline.

    Attributes:
        name: unique in the pipeline; the key of its seconds.
        stage: which stage function runs.
        config: its settings.
        needs: names of the steps whose folders it reads.
        weight: typical seconds, for the estimate of the time that remains.
    """

    name: str
    stage: str
    config: dict[str, Any]
    needs: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass
class _State:
    waiting: list[Step]
    running: dict[Future[float], Step] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


def run_pipeline(steps: Sequence[Step], folder: Path, *, jobs: int, title: str) -> dict[str, float]:
    """Run all steps in an order that respects their needs, at most `jobs` at a time.

    Args:
        steps: the pipeline; a step may only need steps that stand before it.
        folder: where `seconds.json` is kept.
        jobs: worker processes. The machine's threads are divided among them; OMP_NUM_THREADS may ask for fewer.
        title: for the progress display.

    Returns:
        Seconds that each step took, by name.

    Raises:
        StageError: a step failed; steps already running are finished first, and the message names the step.
    """
    _check(steps)
    folder.mkdir(parents=True, exist_ok=True)
    seconds = read_seconds(folder)
    state = _State(list(steps))
    weights = {step.name: step.weight for step in steps}
    context = multiprocessing.get_context("spawn")
    threads = threads_per_worker(jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(threads,)) as pool,
        Progress(*columns, console=errors, disable=not errors.is_terminal) as progress,
    ):
        bar = progress.add_task(title, total=sum(weights.values()))
        while state.waiting or state.running:
            _launch(state, pool, jobs)
            progress.update(bar, description=f"{title}: " + ", ".join(s.name for s in state.running.values()))
            finished, _ = wait(state.running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = state.running.pop(future)
                if error := future.exception():
                    state.waiting.clear()
                    wait(state.running)
                    raise StageError(f"step {step.name!r} failed: {_reason(error, jobs)}") from error
                seconds[step.name] = max(seconds.get(step.name, 0.0), round(future.result(), 2))
                _write_seconds(folder, seconds)
                state.done.add(step.name)
                progress.advance(bar, weights[step.name])
                if not errors.is_terminal:
                    errors.print(f"{title}: {step.name} {seconds[step.name]:.0f} s", markup=False)
    return seconds


def _reason(error: BaseException, jobs: int) -> str:
    if isinstance(error, BrokenProcessPool):
        remedy = "; --jobs 1 needs less memory" if jobs > 1 else ""
        return f"its process was killed, perhaps for want of memory. The same command continues from here{remedy}."
    return str(error)


def _launch(state: _State, pool: ProcessPoolExecutor, jobs: int) -> None:
    ready = [step for step in state.waiting if state.done.issuperset(step.needs)]
    for step in ready[: jobs - len(state.running)]:
        state.waiting.remove(step)
        state.running[pool.submit(_run_step, step.stage, step.config)] = step


def _check(steps: Sequence[Step]) -> None:
    known: set[str] = set()
    for step in steps:
        if step.name in known:
            raise ValueError(f"two steps are called {step.name!r}")
        if missing := set(step.needs) - known:
            raise ValueError(f"step {step.name!r} needs {sorted(missing)}, which do not stand before it")
        known.add(step.name)


def threads_per_worker(jobs: int) -> int:
    """A worker's share of the machine's threads, or as many as OMP_NUM_THREADS says, where that is less."""
    share = max(1, (os.cpu_count() or 1) // jobs)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) > 0 else share


def _start_worker(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["VLMALIGN_QUIET"] = "1"  # the pipeline draws the progress, its stages do not
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the pipeline is killed, which can no longer ask it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_step(stage: str, config: dict[str, Any]) -> float:
    start = time.perf_counter()
    try:
        run_stage(stage, config)
    except Exception as error:  # errors of other packages may not survive the way between processes
        if os.environ.get("VLMALIGN_TRACEBACK"):
            traceback.print_exc()
        raise StageError(describe(error) or f"{type(error).__name__}: {error}") from None
    return time.perf_counter() - start


def read_seconds(folder: Path) -> dict[str, float]:
    """Seconds that each step took so far, by name."""
    path = folder / SECONDS
    return json.loads(path.read_text()) if path.exists() else {}


def _write_seconds(folder: Path, seconds: dict[str, float]) -> None:
    write_atomic(folder / SECONDS, json.dumps(seconds, indent=2, sort_keys=True).encode())
