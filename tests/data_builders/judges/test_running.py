"""A run over a folder of answers: order, states, budget, and what stops it."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data_builders.judges.backend import EndpointError
from data_builders.judges.budget import BudgetReached
from data_builders.judges.running import run_judges
from data_builders.merging import merge_shards
from vlmalign.records import (
    DataError,
    DatasetBuild,
    Judgement,
    Preference,
    assistant,
    read_manifest,
    read_records,
    user,
)
from vlmalign.records.shards import Shard, building

from .scripted import SLOW, completion, error, folder_bytes, wait_until

PROGRAM = Path(__file__).parent / "one_number.py"


def test_every_answer_is_judged_in_input_order_and_states_are_counted(serve, configure):
    replies = {
        "0.0": completion("7"), "1.0": completion("3", "length"), "2.0": completion(None, refusal="I cannot help"),
    }  # fmt: skip
    server = serve(lambda prompt, attempt: replies.get(prompt.split()[-1], completion("")))
    run = run_judges(configure(server, n=4))
    judged = read_records(run.out, Judgement)
    assert [j.case_id for j in judged] == ["c000", "c001", "c002", "c003"]
    assert [j.score for j in judged] == [7.0, None, None, None]
    assert [j.invalid_reason and j.invalid_reason.split(":")[0] for j in judged] == [
        None,
        "cut",
        "refused",
        "failed",
    ]
    counts = read_manifest(run.out).counts
    assert [counts[f"replies_{s}"] for s in ("answered", "cut", "refused", "failed")] == [1, 1, 1, 1]
    assert counts["invalid"] == 3 and run.asked == 4 and run.spent.tokens == 48


def test_a_killed_run_continues_to_the_same_bytes_and_nothing_is_answered_twice(serve, configure, tmp_path):
    stuck, number = [True], itertools.count()  # each thread of the server draws a number of its own
    server = serve(lambda p, a: SLOW if stuck[0] and next(number) >= 8 else completion(str(len(p) % 10)))
    config = configure(server, n=20)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    running = subprocess.Popen([sys.executable, str(PROGRAM), str(tmp_path / "config.json")])
    answers = tmp_path / "cache" / "answers.jsonl"
    wait_until(lambda: server.busy == 4 and answers.read_text().count("\n") == 8)  # four more are in flight
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "out" / "manifest.json").exists()
    stuck[0] = False
    run = run_judges(config)
    assert set(server.answered.values()) == {1} and len(server.answered) == 20
    assert run.asked == 12 and run.earlier.requests == 8
    fresh = config.model_copy(update={"out": tmp_path / "fresh", "cache": tmp_path / "other"})
    assert folder_bytes(run_judges(fresh).out) == folder_bytes(run.out)


def test_an_interrupted_run_keeps_what_is_in_flight_and_begins_nothing_more(serve, configure, tmp_path):
    gate, number = threading.Event(), itertools.count()
    server = serve(lambda p, a: (next(number) < 8 or gate.wait(600)) and completion())
    config = configure(server, n=40)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    running = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path / "config.json")], stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    wait_until(lambda: server.busy == 4 and server.answered.total() == 8)
    running.send_signal(signal.SIGINT)
    time.sleep(0.3)
    gate.set()
    assert running.wait(240) != 0 and server.seen.total() == 12
    run = run_judges(config)
    assert run.earlier.requests == 12 and run.asked == 28 and set(server.answered.values()) == {1}


def test_it_runs_in_a_notebook_where_a_loop_runs_already(serve, configure):
    async def cell():
        return run_judges(configure(serve(), n=2))

    assert asyncio.run(cell()).asked == 2


def test_a_complete_run_asks_nothing_and_another_folder_takes_all_from_the_cache(serve, configure, tmp_path):
    server = serve()
    config = configure(server, n=3)
    run_judges(config)
    assert run_judges(config).asked == 0
    again = run_judges(config.model_copy(update={"out": tmp_path / "again"}))
    assert (again.asked, again.cached) == (0, 3) and server.answered.total() == 3
    assert folder_bytes(again.out) == folder_bytes(tmp_path / "out")


def test_a_spent_budget_keeps_what_is_answered_and_a_larger_one_continues(serve, configure):
    server = serve()
    config = configure(server, n=10, judge={"concurrency": 1}, budget={"max_requests": 4})
    with pytest.raises(BudgetReached, match=r"max_requests 4\. 4 of 10 are judged, 6 are left.*larger budget"):
        run_judges(config)
    with pytest.raises(BudgetReached, match="4 of 10"):  # the bound is on the build, not on a start
        run_judges(config)
    assert server.seen.total() == 4
    larger = config.model_copy(update={"budget": config.budget.model_copy(update={"max_requests": 10})})
    run = run_judges(larger)
    assert server.seen.total() == 10 and run.asked == 6 and len(read_records(run.out, Judgement)) == 10


def test_cost_never_exceeds_its_bound(serve, configure):
    server = serve(lambda prompt, attempt: completion(usage=(1000, 60)))
    price = {"input": 2.0, "output": 10.0}  # 0.0026 a request
    config = configure(server, n=12, judge={"price": price, "concurrency": 3}, budget={"max_cost": 0.0205})
    told = []
    with pytest.raises(BudgetReached, match="max_cost 0.0205"):
        run_judges(config, tell=told.append)
    assert told[0].spent.cost == pytest.approx(0.0026 * 7)  # an eighth might take 0.002 + 64 * 0.00001


def test_a_dead_server_ends_the_run_with_nothing_judged(configure, naps):
    config = configure("http://127.0.0.1:9/v1", n=3, retries={"attempts": 3})
    with pytest.raises(EndpointError, match=r"the last 3 requests to 'scripted' at http://127.0.0.1:9/v1 failed"):
        run_judges(config, sleep=naps)
    assert "answer" not in (config.out / "journal.jsonl").read_text()


def test_a_server_that_dies_in_the_middle_leaves_no_failures_behind(serve, configure, naps):
    down = [True]
    server = serve(lambda p, a: error(503) if down[0] and server.answered.total() >= 5 else completion())
    more = {"judge": {"concurrency": 1}, "retries": {"attempts": 2, "give_up_after": 3}}
    config = configure(server, n=12, **more)
    with pytest.raises(EndpointError, match="the last 3 requests"):
        run_judges(config, sleep=naps)
    down[0] = False
    run = run_judges(config)
    assert all(j.valid for j in read_records(run.out, Judgement)) and set(server.answered.values()) == {1}


def test_one_failure_among_answers_is_an_invalid_judgement_and_overwrite_asks_it_alone(serve, configure, naps):
    bad = [True]
    server = serve(lambda p, a: error(500) if bad[0] and p.endswith("1.0") else completion())
    config = configure(server, n=4, retries={"attempts": 2})
    run = run_judges(config, sleep=naps)
    assert run.counts["replies_failed"] == 1 and run.counts["invalid"] == 1
    bad[0] = False
    again = run_judges(config, overwrite=True)
    assert again.asked == 1 and again.counts["replies_answered"] == 4 and again.counts["invalid"] == 0


@pytest.mark.parametrize(
    "status, remedy", [(401, "api_key_env"), (404, "base_url"), (400, "extra_body"), (403, "may use this model")]
)
def test_what_will_not_change_stops_the_run_at_once(serve, configure, status, remedy):
    server = serve(lambda prompt, attempt: error(status, "model not known"))
    with pytest.raises(EndpointError, match=rf"{server.url} .*status {status}.*'scripted'.*not known.*{remedy}"):
        run_judges(configure(server, n=30))
    assert server.seen.total() <= 4 and set(server.seen.values()) == {1}


def test_an_image_that_is_not_the_recorded_one_is_not_sent(serve, configure, tmp_path):
    server = serve()
    config = configure(server, n=1)
    (image,) = (tmp_path / "cases" / "images").rglob("*.png")
    image.unlink()
    image.write_bytes(b"another")
    with pytest.raises(DataError, match="SHA-256 differs"):
        run_judges(config)
    assert not server.seen


def test_cut_candidates_are_left_out_and_counted(serve, configure, inputs):
    server = serve()
    written = inputs(n=2, answers=2, cut={"c000/1"})
    run = run_judges(configure(server, written=written))
    assert [j.candidate_ids[0] for j in read_records(run.out, Judgement)] == ["c000/0", "c001/0", "c001/1"]
    assert run.counts["unfinished_candidates"] == 1


def test_both_sides_of_pairs_are_judged_without_saying_which_was_chosen(serve, configure, tmp_path):
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        for k in range(8):
            pair = Preference(
                id=f"p{k}", case_id=f"c{k}", group_id="g", split="train", images=(), prompt=(user("Which?"),),
                chosen=(assistant(f"good {k}"),), rejected=(assistant(f"bad {k}"),), source="human",
            )  # fmt: skip
            build.commit(pair.id, [pair])
    server = serve()
    run = run_judges(configure(server, written={"pairs": tmp_path / "pairs"}))
    ids = [j.candidate_ids[0] for j in read_records(run.out, Judgement)]
    assert len(ids) == 16 and {"p0/chosen", "p0/rejected"} <= set(ids)
    assert {name.partition("/")[2] for name in ids[::2]} == {"chosen", "rejected"}  # either may stand first
    assert not any("chosen" in str(body) or "rejected" in str(body) for body in server.bodies)


def test_a_request_that_a_protocol_repeats_is_asked_once(serve, configure):
    server = serve()
    run = run_judges(configure(server, n=3, protocol={"name": "one-number", "ask_twice": True}))
    assert server.seen.total() == 3 and run.counts["replies_answered"] == 6 and run.cached == 3


def test_a_jury_asks_each_of_its_models_and_refuses_the_same_one_twice(serve, configure, inputs):
    written = inputs(n=2)
    server = serve(lambda prompt, attempt: completion(str(attempt)))
    both = [{"model": name, "base_url": server.url} for name in ("one", "two")]
    run = run_judges(configure(server, written=written, judges=both))
    assert [j.judge for j in read_records(run.out, Judgement)] == ["one-number@1:one", "one-number@1:two"] * 2
    with pytest.raises(ValueError, match="judge 2 .* has the model with the same options"):
        run_judges(configure(server, written=written, judges=[both[0], {**both[0], "id": "again"}]))


def test_other_settings_on_the_same_folder_are_refused_but_another_host_is_not(serve, configure, inputs):
    written = inputs(n=2)
    run_judges(configure(serve(), written=written))
    assert run_judges(configure(serve(), written=written)).asked == 0
    with pytest.raises(DataError, match="other settings"):
        run_judges(configure(serve(), written=written, seed=1))


def test_neither_options_nor_protocols_that_do_not_exist_are_passed_over(serve, configure, inputs):
    server, written = serve(), inputs(n=1)
    with pytest.raises(ValueError, match="unknown judge protocol 'one-numbr'. Did you mean 'one-number'"):
        run_judges(configure(server, written=written, protocol={"name": "one-numbr"}))
    with pytest.raises(ValueError, match="protocol 'one-number': unknown option 'abut'. Did you mean 'about'"):
        run_judges(configure(server, written=written, protocol={"name": "one-number", "abut": "x"}))


def test_shards_of_a_run_merge_to_the_bytes_of_the_undivided_one(serve, configure, tmp_path):
    server = serve(lambda prompt, attempt: completion(str(len(prompt) % 10)))
    config = configure(server, n=5)
    whole = run_judges(config).out
    parts = []
    for k in range(2):
        with building(Shard(k, 2)):
            parts.append(run_judges(config.model_copy(update={"out": tmp_path / f"part-{k}"})).out)
    assert [read_manifest(part).counts["records"] for part in parts] == [2, 3]
    assert folder_bytes(merge_shards(parts, tmp_path / "merged")) == folder_bytes(whole)
