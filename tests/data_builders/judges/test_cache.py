"""Answers on disk: found again, whoever wrote them, and however the writer ended."""

import asyncio
import multiprocessing
import stat
from dataclasses import replace

import pytest

from data_builders.judges.asking import JudgeImage, JudgeReply, JudgeRequest
from data_builders.judges.budget import Spent
from data_builders.judges.cache import AnswerCache, request_key
from vlmalign.records import DataError, user

REQUEST = JudgeRequest((user("A"),), (JudgeImage("x.png", "0" * 64),), "p@1", ("a", "b"))
MODEL = {"backend": "openai", "model": "m", "extra_body": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (user("B"),)}, {"images": (JudgeImage("x.png", "1" * 64),)}, {"prompt": "p@2"},
        {"display_order": ("b", "a")}, {"sample": 1}, {"temperature": 0.5}, {"max_tokens": 9},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_whatever_may_change_an_answer_changes_its_key(change):
    assert request_key(replace(REQUEST, **change), MODEL, 0) != request_key(REQUEST, MODEL, 0)


def test_model_and_seed_are_in_the_key_and_the_place_of_an_image_is_not():
    key = request_key(REQUEST, MODEL, 0)
    assert key != request_key(REQUEST, {**MODEL, "model": "n"}, 0) != request_key(REQUEST, MODEL, 1) != key
    assert key == request_key(replace(REQUEST, images=(JudgeImage("y.png", "0" * 64),)), MODEL, 0)
    assert request_key(replace(REQUEST, temperature=1), MODEL, 0) == request_key(
        replace(REQUEST, temperature=1.0), MODEL, 0
    )


def test_a_line_that_a_kill_has_cut_is_told_and_harms_no_other(tmp_path):
    first = AnswerCache(tmp_path, run="r")
    for name in "abc":
        first.put(name, JudgeReply("answered", f"reply {name}"), Spent(1, 10, 2, 0.5))
    first.close()
    file = tmp_path / "answers.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    second = AnswerCache(tmp_path, run="r")
    assert second.torn == 1 and second.get("c") is None and second.get("b").text == "reply b"
    assert second.spent_before == Spent(2, 20, 4, 1.0)
    second.put("c", JudgeReply("answered", "anew"), Spent(1))
    second.close()
    third = AnswerCache(tmp_path, run="another")
    assert [third.get(name).text for name in "abc"] == ["reply a", "reply b", "anew"]
    assert third.torn == 1 and third.spent_before == Spent()


def test_a_failure_is_counted_but_is_no_answer(tmp_path):
    cache = AnswerCache(tmp_path, run="r")
    cache.put("k", JudgeReply("failed", reason="empty"), Spent(1, 10, 0))
    again = AnswerCache(tmp_path, run="r")
    assert again.get("k") is None and again.spent_before == Spent(1, 10, 0)
    again.put("k", JudgeReply("refused", reason="no", prompt_tokens=3), Spent(1))
    assert again.get("k") == JudgeReply("refused", reason="no", prompt_tokens=3, cached=True)


def test_lines_of_others_are_seen_while_one_is_open(tmp_path):
    mine, theirs = (AnswerCache(tmp_path, run=name) for name in "ab")
    assert mine.get("k") is None
    theirs.put("k", JudgeReply("answered", "line\u2028break \ud800"), Spent(1))
    assert mine.get("k").text == "line\u2028break \ud800"


def _write(folder, name):
    cache = AnswerCache(folder, run=name)
    for n in range(200):
        cache.put(f"{name}{n}", JudgeReply("answered", name * 500), Spent(1))
    cache.close()


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_write, [(tmp_path, "a"), (tmp_path, "b")])
    cache = AnswerCache(tmp_path, run="a")
    assert cache.torn == 0 and cache.spent_before.requests == 200
    assert all(cache.get(f"{name}{n}").text == name * 500 for name in "ab" for n in range(200))


def _hold(folder, taken, free):
    async def hold():
        async with AnswerCache(folder, run="other").claimed("f" * 64):
            taken.set()
            free.wait(600)

    asyncio.run(hold())


def test_a_request_that_another_process_is_asking_is_waited_for(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    taken, free = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(tmp_path, taken, free))
    other.start()
    assert taken.wait(240)

    async def claim(cache, key):
        async with cache.claimed(key):
            return True

    async def meanwhile():
        cache = AnswerCache(tmp_path, run="mine")
        assert await asyncio.wait_for(claim(cache, "a" * 64), 60)  # another request is free
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(claim(cache, "f" * 64), 0.3)
        other.kill()  # the system frees what a killed process holds
        other.join()
        assert await asyncio.wait_for(claim(cache, "f" * 64), 60)

    asyncio.run(meanwhile())


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match="the cache is a file"):
        AnswerCache(tmp_path / "cache", run="r")


def test_a_new_cache_is_its_owners_and_a_shared_one_stays_shared(tmp_path):
    (tmp_path / "shared").mkdir(mode=0o770)
    (tmp_path / "shared").chmod(0o770)
    for name, rights in (("own", 0o700), ("shared", 0o770)):
        AnswerCache(tmp_path / name, "r").close()
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == rights
