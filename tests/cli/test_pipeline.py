"""Pipelines: order, failure, continuation."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlmalign.cli.pipeline import Step, run_pipeline, threads_per_worker
from vlmalign.cli.stages import StageError


def smear(name, out, needs=()):
    return Step(name, "source", {"name": "smear", "out": str(out), "options": {"n_groups": 1}}, needs)


def test_steps_run_after_what_they_need_and_a_second_call_does_nothing(tmp_path):
    steps = [
        smear("source", tmp_path / "cases"),
        Step("prompts", "prompts", {"cases": [str(tmp_path / "cases")], "out": str(tmp_path / "p")}, ("source",)),
    ]
    seconds = run_pipeline(steps, tmp_path, jobs=2, title="test")
    assert set(seconds) == {"source", "prompts"}
    before = (tmp_path / "p" / "records.jsonl").stat().st_mtime_ns
    run_pipeline(steps, tmp_path, jobs=2, title="test")
    assert (tmp_path / "p" / "records.jsonl").stat().st_mtime_ns == before
    assert set(json.loads((tmp_path / "seconds.json").read_text())) == {"source", "prompts"}


def test_a_failing_step_is_named_and_what_ran_beside_it_is_kept(tmp_path):
    bad = Step("bad", "prompts", {"cases": [str(tmp_path / "none")], "out": str(tmp_path / "p")})
    with pytest.raises(StageError, match="step 'bad' failed.*no such folder"):
        run_pipeline([bad, smear("good", tmp_path / "cases")], tmp_path, jobs=2, title="test")
    assert (tmp_path / "cases" / "manifest.json").exists()


def test_a_step_may_not_need_a_later_one(tmp_path):
    with pytest.raises(ValueError, match="which do not stand before it"):
        run_pipeline([smear("a", tmp_path, ("b",)), smear("b", tmp_path)], tmp_path, jobs=1, title="test")


POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from vlmalign.cli.pipeline import _start_worker
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker, initargs=(1,)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_killed_pipeline_leaves_no_worker_behind(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(300):
        if not runs(worker):
            return
        time.sleep(0.1)
    pytest.fail(f"worker {worker} still runs 30 seconds after the pipeline was killed")


def runs(pid):
    """Whether it is there and no zombie, which it stays where nobody collects orphans, as in many containers."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()


@pytest.mark.parametrize(("asked", "threads"), [(None, 4), ("1", 1), ("16", 4), ("", 4), ("0", 4), ("1,2", 4)])
def test_a_worker_takes_its_share_of_the_threads_and_no_more_than_the_user_allows(monkeypatch, asked, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_per_worker(2) == threads
