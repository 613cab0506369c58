"""Position bias, from a folder of judgements."""

import asyncio

from data_builders.judges.consistency import position_consistency
from data_builders.judges.pairwise import Pairwise
from vlmalign.records import DatasetBuild


def test_position_consistency_of_a_folder(tmp_path, item, script):
    always_first = script("R.\nVERDICT: A")
    sees = script(lambda r: f"R.\nVERDICT: {'AB'[r.display_order.index('b')]}")
    mute = script(lambda r: "Hm." if r.display_order[0] == "a" else "R.\nVERDICT: A")
    with DatasetBuild(tmp_path / "j", "judgement", {}, data_use="open") as build:
        for n, judge in enumerate([always_first, sees, sees, mute]):
            one = item("x", "y", name=f"i{n}")
            judged = asyncio.run(Pairwise().judge(one, {"m": judge.ask}))
            renamed = [
                j.model_copy(update={
                    "candidate_ids": tuple(f"{n}{c}" for c in j.candidate_ids),
                    "display_order": j.display_order and tuple(f"{n}{c}" for c in j.display_order),
                })
                for j in judged
            ]  # fmt: skip
            build.commit(one.id, renamed)
    (found,) = position_consistency(tmp_path / "j").values()
    assert dict(found.states) == {"consistent": 2, "inconsistent": 1, "unparsed": 1}
    assert (found.consistent.successes, found.consistent.n) == (2, 3)
    assert (found.consistent.low, found.consistent.high) == (0.208, 0.939)  # Wilson, 2 of 3
    # first wins both of item 0, one order of each of items 1 and 2, and the one that is read of item 3
    assert (found.first_shown.successes, found.first_shown.n) == (5, 7)
