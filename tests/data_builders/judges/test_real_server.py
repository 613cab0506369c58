"""A real server with a real (tiny, random) model that sees: what it answers over HTTP is what it answers here."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.utils.import_utils import is_serve_available

from data_builders.judges.running import run_judges
from vlmalign.records import Judgement, read_manifest, read_records

from .real_server import real_server
from .scripted import folder_bytes, wait_until

SHORT = {"max_tokens": 12}  # a random model does not end


@pytest.fixture(scope="module")
def server(tiny_seeing_judge):
    with real_server(tiny_seeing_judge) as url:
        yield url


@pytest.fixture
def both(server, configure, inputs, tiny_seeing_judge, tmp_path):
    """The same run over HTTP and in this process; the replies by candidate, and the folders."""

    def run(**more):
        written = inputs(n=3, answers=2)
        here = {"backend": "huggingface", "model": str(tiny_seeing_judge), "id": "tiny", "dtype": "float32"}
        there = {"model": "tiny", "base_url": server}
        runs = []
        for name, judge in (("here", here), ("there", there)):
            config = configure("", written=written, judges=judge, out=tmp_path / name, **more)
            runs.append(run_judges(config))
        return runs

    return run


def said(run):
    return [j.critique or j.invalid_reason for j in read_records(run.out, Judgement)]


def test_a_model_answers_the_same_over_http_and_in_this_process(both):
    here, there = both(protocol={"name": "pointwise", **SHORT})
    replies = said(here)
    assert replies == said(there) and len(replies) == 6
    assert len(set(replies)) > 2  # it reads what it is asked
    assert here.spent.tokens == there.spent.tokens > 0 and there.asked == 6


def test_every_protocol_runs_on_a_real_server_and_again_without_it(server, configure, inputs, tmp_path):
    written = inputs(n=2, answers=2)
    for name in ("pairwise", "pointwise"):
        more = {"protocol": {"name": name, **SHORT}, "judges": {"model": "tiny", "base_url": server}}
        run = run_judges(configure("", written=written, out=tmp_path / name, **more))
        counts = read_manifest(run.out).counts
        assert counts["replies_cut"] == run.asked > 0
        assert counts["invalid"] == counts["records"] > 0  # and says nothing that can be read
        more["judges"] = {"model": "tiny", "base_url": "http://127.0.0.1:9/v1"}
        again = run_judges(configure("", written=written, out=tmp_path / f"{name}-again", **more))
        assert again.asked == 0 and folder_bytes(again.out) == folder_bytes(run.out)


@pytest.fixture
def transformers_serve(tiny_seeing_judge):
    """`transformers serve` itself, where what it needs is installed."""
    if not is_serve_available():
        pytest.skip("transformers serve needs `pip install transformers[serving]`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "transformers", "serve", tiny_seeing_judge, "--device", "cpu"]
    running = subprocess.Popen(
        [*map(str, command), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    wait_until(lambda: running.poll() is not None or not socket.socket().connect_ex(("127.0.0.1", port)), 90)
    yield f"http://127.0.0.1:{port}/v1"
    running.kill()
    running.wait()


def test_transformers_serve_answers_as_the_model_does_in_this_process(
    transformers_serve, configure, inputs, tiny_seeing_judge, tmp_path
):
    written = inputs(n=2, answers=2)
    judges = {
        "here": {"backend": "huggingface", "model": str(tiny_seeing_judge), "dtype": "float32"},
        "there": {"model": str(tiny_seeing_judge), "base_url": transformers_serve},
    }
    here, there = (
        run_judges(
            configure(
                "", written=written, protocol={"name": "pointwise", **SHORT}, judges=judge, out=tmp_path / name
            )
        )
        for name, judge in judges.items()
    )
    assert [s.strip() for s in said(here)] == [s.strip() for s in said(there)] and there.asked == 4
    assert str(tiny_seeing_judge) not in "".join(p.read_text() for p in there.out.glob("*.json*"))
