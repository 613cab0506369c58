"""`make bench`: this toolkit and TRL side by side, in one run, as ratios.

Both do the same steps on the same pictures and answers, in turns, on the same threads; figures are medians.
Counted is all from pictures and texts to the optimiser's step: processing, vision, policy, reference, backward;
in rounds of GRPO also sampling and reward.
`cold`: nothing is kept between steps. `warm`: this toolkit keeps what training keeps from the second epoch on
(processed prompts, features of the frozen tower, reference log-probabilities); TRL keeps none of these for images.
Beside each ratio stands the arithmetic limit: operations of TRL's step over those of ours.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch  # noqa: E402
from benchmarks import grpo, judge_client, memory, reader_coverage, record_validation, rollout  # noqa: E402
from benchmarks.ours import OurStep  # noqa: E402
from benchmarks.peer import PeerStep  # noqa: E402
from benchmarks.setting import BETA, PAIRS, Pair, adapt, build, pairs, stir  # noqa: E402

from vlmalign.data.collation import collate, pad_token  # noqa: E402
from vlmalign.models import batch_flops  # noqa: E402


@dataclass(frozen=True)
class Case:
    """One benchmark: its model, how many answers per prompt, and what is asked of the ratio."""

    name: str
    vocabulary: int
    limit: float
    answers: int = 2
    warm: bool = False
    kind: Literal["dpo", "rollout", "grpo"] = "dpo"
    prompts: int = PAIRS
    beta: float = BETA


CASES = [
    Case("dpo_pair_v1000_cold", 1000, 1.9),
    Case("dpo_pair_v1000_warm", 1000, 2.9, warm=True),
    Case("dpo_pair_v32000_warm", 32000, 10.0, warm=True),
    Case("dpo_allpairs_k4", 1000, 8.0, answers=4, prompts=1),
    Case("dpo_allpairs_k4_warm", 1000, 8.0, answers=4, warm=True, prompts=1),
    Case("rollout_8", 1000, 2.0, kind="rollout"),
    Case("grpo_step", 1000, 2.0, kind="grpo", beta=0.0),
    Case("grpo_step_kl", 1000, 2.0, kind="grpo", beta=0.04),
]
#: against a known limit, with no peer: measure, line
FIGURES: dict[str, Any] = {m.NAME: m for m in (judge_client, record_validation, reader_coverage)}
GRPO = "counted: processing, vision, prompts, sampling, reward, {}update; nothing is kept between rounds"
ALL_PAIRS = "one prompt a step, as TRL's six pairs of four prompts are 48 rows and many gigabytes"
REMARKS = {
    "dpo_pair_v32000_warm": "on a CPU TRL's fused output layer scores every position, ours the answers' only",
    "dpo_allpairs_k4": ALL_PAIRS,
    "dpo_allpairs_k4_warm": ALL_PAIRS,
    "grpo_step": GRPO.format("") + "; no KL, which is TRL's default",
    "grpo_step_kl": GRPO.format("reference, "),
}


def main() -> None:
    """Run the benchmarks and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each side")
    parser.add_argument("--only", nargs="*", default=[], help="names of benchmarks")
    options = parser.parse_args()
    results = []
    for case in CASES:
        if not options.only or case.name in options.only:
            results.append(measure(case, options.repeats))
            print(_line(results[-1]), flush=True)  # noqa: T201
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    for name, figure in FIGURES.items():
        if not options.only or name in options.only:
            results.append(figure.measure())
            print(figure.line(results[-1]), flush=True)  # noqa: T201
            options.out.write_text(json.dumps(results, indent=1) + "\n")


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Time both sides in turns, then the memory of each in a process of its own."""
    ours, peer, batch = side(case, "ours"), side(case, "peer"), batch_of(case)
    same = {"dpo": same_loss, "rollout": same_answers, "grpo": grpo.same_update}[case.kind](ours, peer, batch)
    for step in (ours, peer):
        step(batch)  # allocates, and warms what is to be warm
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(repeats):
        times["ours"].append(_seconds(lambda: ours(batch)))
        times["peer"].append(_seconds(lambda: peer(batch)))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["peer"] / medians["ours"]
    return {
        **asdict(case), "ours_s": medians["ours"], "peer_s": medians["peer"], "ratio": ratio,
        "reached": ratio >= case.limit,
        "arithmetic_limit": arithmetic_limit(case, ours, batch),
        "ours_range_s": [min(times["ours"]), max(times["ours"])],
        "peer_range_s": [min(times["peer"]), max(times["peer"])],
        "ours_peak_mb": peak_memory(case, "ours"), "peer_peak_mb": peak_memory(case, "peer"),
        "repeats": repeats, "threads": torch.get_num_threads(), "difference": same,
        "remark": REMARKS.get(case.name, ""),
    }  # fmt: skip


def side(case: Case, name: str) -> Any:
    """One side of a benchmark; both begin with the same weights."""
    vlm = build(case.vocabulary)
    step: Any
    if case.kind == "rollout":
        return rollout.OurRollout(vlm) if name == "ours" else rollout.PeerRollout(vlm)
    if case.kind == "grpo":
        made = grpo.OurGrpo if name == "ours" else grpo.PeerGrpo
        step = made(adapt(grpo.never_ending(vlm)), case.beta)
    elif name == "ours":
        step = OurStep(adapt(vlm), case.answers, warm=case.warm)
    else:
        step = PeerStep(adapt(vlm), case.answers)
    stir(step.model)
    return step


def batch_of(case: Case) -> list[Pair]:
    """Pictures and answers, the same in all cases."""
    return pairs(build(1000), seed=0)[: case.prompts]


def same_loss(ours: Any, peer: Any, batch: list[Any]) -> float:
    """Refuse to time two steps that differ."""
    with torch.no_grad():
        losses = [float(step.loss(batch)) for step in (ours, peer)]
    difference = abs(losses[0] - losses[1])
    if not difference < 1e-4 or abs(losses[0] - 0.6931) < 1e-3:
        raise SystemExit(f"the losses are {losses}: expected the same to 1e-4, and not log 2")
    return difference


def same_answers(ours: Any, peer: Any, batch: list[Any]) -> float:
    """Refuse to time two samplers whose likeliest answers differ."""
    if ours(batch, samples=1, temperature=0.0) != peer(batch, samples=1, temperature=0.0):
        raise SystemExit("the greedy answers differ")
    return 0.0


def arithmetic_limit(case: Case, ours: Any, batch: list[Any]) -> float:
    """Operations of TRL's step over ours, from shapes alone, the output layer at answers' positions only."""
    if case.kind == "grpo":
        return grpo.arithmetic_limit(ours, batch)
    if case.kind == "rollout":
        return rollout.arithmetic_limit(ours.vlm, batch)
    model, k = ours.vlm.model, case.answers
    packed = collate([ours._example(pair) for pair in batch], pad_token(ours.vlm.processor))["batch"]
    rows = k - 1  # TRL runs each answer once per pair that it is in
    plain = sum(batch_flops(model, packed, training=training, mode="plain") for training in (True, False)) * rows
    mine = batch_flops(model, packed, training=True)
    if case.warm:
        mine -= _vision_flops(model, packed)
    else:
        mine += batch_flops(model, packed, training=False) - _vision_flops(model, packed)
    return plain / mine


def _vision_flops(model: Any, batch: Any) -> float:
    from dataclasses import replace

    blind = {name: value for name, value in batch.prompts.items() if name != "pixel_values"}
    return batch_flops(model, batch, training=False) - batch_flops(
        model, replace(batch, prompts=blind), training=False
    )


def peak_memory(case: Case, name: str) -> float:
    """Peak resident memory of two steps beyond what stood before the first, in MB, in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (case, name, torch.get_num_threads()))


def _peak(case: Case, name: str, threads: int) -> float:
    torch.set_num_threads(threads)
    step = side(case, name)
    batch = batch_of(case)
    before = memory.restart_peak()
    for _ in range(2):
        step(batch)
    return memory.peak() - before


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _line(r: dict[str, Any]) -> str:
    mark = "reached" if r["reached"] else "MISSED"
    return (
        f"{r['name']:22} ours {r['ours_s']:6.2f} s  peer {r['peer_s']:6.2f} s  ratio {r['ratio']:5.2f} "
        f"(wanted {r['limit']}, {mark}; arithmetic limit {r['arithmetic_limit']:.2f})  "
        f"peak {r['ours_peak_mb']:.0f} against {r['peer_peak_mb']:.0f} MB"
        + (f"\n{'':22} {r['remark']}" * bool(r["remark"]))
    )


if __name__ == "__main__":
    main()
