"""How much of a server's capacity the judge client uses: a whole run, with images, cache and records."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openai  # noqa: F401  # before the clock starts: to import it is no part of an answer
from benchmarks.capacity_server import capacity_server
from PIL import Image

from data_builders.judges.config import JudgeConfig
from data_builders.judges.running import run_judges
from vlmalign.records import Candidate, Case, DatasetBuild, Sampling, assistant, user

NAME = "judge_client_saturation"
SLOTS, SERVICE, REQUESTS = 16, 0.5, 480  # 32 answers a second
LIMIT = 0.95
SIDE = 224
CHOICE = (
    "one server, in a process of its own; capacity is slots / service time, and the client asks twice the slots"
)


def measure() -> dict[str, Any]:
    """Judge 480 answers, each with a picture; the ratio is answers a second over the server's capacity."""
    with tempfile.TemporaryDirectory() as folder, capacity_server(SLOTS, SERVICE) as server:
        root = Path(folder)
        _write(root)
        config = JudgeConfig.model_validate(
            {
                "protocol": {"name": "pointwise"}, "cases": root / "cases", "candidates": root / "candidates",
                "out": root / "out", "cache": root / "cache",
                "judges": {"model": "fixed", "base_url": server.url, "concurrency": 2 * SLOTS},
            }
        )  # fmt: skip
        before, clock = time.process_time(), time.perf_counter()
        run_judges(config)
        used, wall = time.process_time() - before, time.perf_counter() - clock
        served = server.served()
    capacity = SLOTS / SERVICE
    reached = served.answers / served.seconds
    return {
        "name": NAME, "limit": LIMIT, "ratio": reached / capacity, "reached": reached / capacity >= LIMIT,
        "answers": served.answers, "answers_per_s": reached, "capacity_per_s": capacity, "slots": SLOTS,
        "service_s": SERVICE, "wall_s": wall, "client_cpu_ms_per_answer": 1000 * used / served.answers,
        "remark": CHOICE,
    }  # fmt: skip


def line(r: dict[str, Any]) -> str:
    """The figure in words."""
    return (
        f"{r['name']:22} {r['answers_per_s']:.1f} answers/s of {r['capacity_per_s']:.0f} that the server can "
        "serve: "
        f"ratio {r['ratio']:.3f} (wanted {r['limit']}, {'reached' if r['reached'] else 'MISSED'}), "
        f"{r['client_cpu_ms_per_answer']:.1f} ms of CPU an answer\n{'':22} {r['remark']}"
    )


def _write(root: Path) -> None:
    chance = np.random.default_rng(0)
    with (
        DatasetBuild(root / "cases", "case", {}) as cases,
        DatasetBuild(root / "candidates", "candidate", {}) as candidates,
    ):
        for n in range(REQUESTS // 4):
            picture = Image.fromarray(chance.integers(0, 255, (SIDE, SIDE), dtype=np.uint8))
            case = Case(
                id=f"c{n}", images=(cases.add_image(picture),), messages=(user("What is seen?", images=1),),
                domain="d", group_id=f"g{n}", group_kind="photograph",
            )  # fmt: skip
            cases.commit(case.id, [case])
            answers = [
                Candidate(
                    id=f"c{n}/{k}", case_id=case.id, messages=(assistant(f"answer {k} of {n}"),), policy="p@0",
                    sampling=Sampling(max_new_tokens=8, sample=k), seed=0,
                )
                for k in range(4)
            ]  # fmt: skip
            candidates.commit(case.id, answers)
