"""`reader_coverage`: how often intervals for win rates of several readers on several cases hold the truth.

2,000 simulated studies of each size, every reader rating every case. Two estimands: `new readers`, the win rate of
all readers like these, from the two-way variance with Satterthwaite's t, whose coverage must reach that of the
reference for each size; and `these readers`, from cases alone, which must reach `THESE_LIMIT`. Beside them: how
the case-only interval fares where it is taken for new readers, which it does not promise.
"""

from __future__ import annotations

import time
from typing import Any

from vlmalign.evaluation.reader_simulation import ReaderWorld, simulate_coverage

NAME = "reader_coverage"
STUDIES = 2_000
#: readers, cases -> least coverage for new readers
LIMITS = {(2, 28): 0.93, (4, 30): 0.95, (4, 100): 0.91, (8, 100): 0.93}
THESE_LIMIT = 0.92


def measure(studies: int = STUDIES, seed: int = 0) -> dict[str, Any]:
    """Coverage of each size, and whether all reach what is asked."""
    world = ReaderWorld()
    began = time.process_time()
    sizes = []
    for (readers, cases), limit in LIMITS.items():
        found = simulate_coverage(readers, cases, studies=studies, world=world, seed=seed)
        reached = found.new_readers >= limit and found.these_readers >= THESE_LIMIT
        sizes.append({"readers": readers, "cases": cases, "limit": limit, "reached": reached, **vars(found)})
    return {
        "name": NAME,
        "estimand": "win rate of readers like these on cases like these; these_readers: of these on such cases",
        "world": {**vars(world), "win_rate": world.win_rate},
        "sizes": sizes,
        "reached": all(size["reached"] for size in sizes),
        "cpu_s": time.process_time() - began,
    }


def line(result: dict[str, Any]) -> str:
    """One line for each size."""
    lines = [f"{NAME:22} {'reached' if result['reached'] else 'MISSED'}, {result['cpu_s']:.0f} s; coverage in %:"]
    for size in result["sizes"]:
        lines.append(
            f"{'':22} {size['readers']} readers x {size['cases']} cases: new readers "
            f"{100 * size['new_readers']:.1f}"
            f" (wanted {100 * size['limit']:.0f}), these readers {100 * size['these_readers']:.1f}; case-only "
            f"taken for new readers {100 * size['case_only']:.1f}"
        )
    return "\n".join(lines)
