"""`vlmalign build judge`: from a config to a summary, in plain language."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from vlmalign.records import Candidate, Case, DatasetBuild, Judgement, Sampling, assistant, read_records


@pytest.fixture
def server():
    """It grades every answer 4 of 5, in the form that the shipped rubric asks for, or says what `says` is."""
    count = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            count.append(body)
            said = {"role": "assistant", "content": running.says}
            reply = {
                "id": "x", "object": "chat.completion", "created": 0, "model": "m-1",
                "choices": [{"index": 0, "finish_reason": "stop", "message": said}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }  # fmt: skip
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    running.seen, running.says = count, '{"accuracy": 4, "completeness": 4, "clarity": 4}'
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def recipe(cases, server, tmp_path):
    """Write a config of one judge over one answer to each of five cases; keys replace those of it."""

    def write(**more):
        answers = tmp_path / "answers"
        if not answers.exists():
            with DatasetBuild(answers, "candidate", {}) as build:
                for case in read_records(cases, Case)[:5]:
                    answer = Candidate(
                        id=f"{case.id}/0", case_id=case.id, messages=(assistant("A leukocyte is present."),),
                        policy="p@1", sampling=Sampling(max_new_tokens=30), seed=0,
                    )  # fmt: skip
                    build.commit(case.id, [answer])
        config = {
            "protocol": {"name": "pointwise"}, "cases": str(cases), "candidates": "answers", "out": "judged",
            "cache": "cache",
            "judges": {
                "backend": "openai", "model": "m", "base_url": f"http://127.0.0.1:{server.server_address[1]}/v1",
                "price": {"input": 1.0, "output": 4.0},
            },
            **more,
        }  # fmt: skip
        (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"stage": "judge", "config": config}))
        return "build", "judge", "judge.yaml"

    return write


def test_the_summary_says_what_was_asked_and_what_it_cost(vlmalign, recipe, server, tmp_path):
    result = vlmalign(*recipe())
    assert result.code == 0, result
    assert "asked 5 requests, 0 taken from the cache" in result.out
    assert "500 tokens read, 50 written, cost 0.0007" in result.out and "wrote judged" in result.out
    assert len(read_records(tmp_path / "judged", Judgement)) == 5
    again = vlmalign(*recipe(protocol="pointwise"))  # a name alone is the same
    assert "complete already" in again.out and len(server.seen) == 5


def test_the_summary_says_how_many_judgements_decide_nothing(vlmalign, recipe, server):
    server.says = "A nice report."
    result = vlmalign(*recipe())
    assert result.code == 0 and "asked 5 requests" in result.out
    assert "5 of 5 judgements are invalid" in result.out and "invalid_reason" in result.out


def test_a_budget_ends_the_command_with_what_is_left_and_a_larger_one_continues(vlmalign, recipe, server):
    command = recipe()
    stopped = vlmalign(*command, "--set", "budget.max_requests=2", "--set", "judges.concurrency=1")
    assert stopped.code == 2 and "2 of 24 are judged" not in stopped.err
    assert "the budget is spent" in stopped.err and "larger budget continues" in stopped.err
    assert "asked 2 requests" in stopped.out
    finished = vlmalign(*command, "--set", "budget.max_requests=5")
    assert finished.code == 0 and "asked 3 requests" in finished.out and len(server.seen) == 5


@pytest.mark.parametrize(
    "setting, says",
    [
        ("budget.max_cots=1", "unknown key 'budget.max_cots'"),
        ("protocol={options: 1}", "unknown option 'options'"),
        ("judges.api_key=sk-secret", "api_key"),
        ("judges.api_key_env=sk-secret", "api_key_env is not the name of an environment variable"),
        ("pairs=p", "drop one of the two"),
        ("protocol.name=pontwise", "Did you mean 'pointwise'?"),
        ("protocol=pontwise", "Did you mean 'pointwise'?"),
        ("judges.base_url=http://127.0.0.1:9/v1?key=sk-secret", "base_url"),
    ],
)
def test_bad_settings_are_one_sentence_and_show_no_key(refused, recipe, setting, says, tmp_path):
    result = refused(*recipe(), "--set", setting, says=[says])
    assert "sk-secret" not in str(result) and not (tmp_path / "judged").exists()


def test_data_that_may_not_leave_are_refused_by_name(refused, recipe, tmp_path, server):
    command = recipe()
    manifest = json.loads((tmp_path / "answers" / "manifest.json").read_text())
    (tmp_path / "answers" / "manifest.json").write_text(json.dumps({**manifest, "data_use": "local_only"}))
    refused(*command, "--set", "judges.base_url=https://api.example.com/v1",
            says=["answers", "local_only", "https://api.example.com/v1", "backend: huggingface"])  # fmt: skip
    assert not server.seen and not (tmp_path / "judged").exists()


def test_every_setting_is_listed(vlmalign):
    out = vlmalign("build", "judge", "--settings").out
    assert "judges.api_key_env" in out and "budget.max_cost" in out and "judges.gguf" in out
