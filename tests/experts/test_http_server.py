import base64
import io
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from experts import load_expert, run_expert
from experts.http_reply import BadReply, read_reply
from experts.http_server import HttpSettings, ServerError, check_data_use
from experts.protocol import ImageContext
from vlmalign.records import Case, DataError, DatasetBuild, Finding, read_records, user


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class Server:
    """A real server on loopback: measures brightness; `script` holds statuses to answer with first."""

    def __init__(self):
        self.script, self.seen, self.headers = [], [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.headers.append(dict(self.headers))
                with Image.open(io.BytesIO(body)) as image:
                    array = np.asarray(image.convert("L"))
                outer.seen.append(array.shape)
                status, reply = outer.script.pop(0) if outer.script else (200, outer.answer(array))
                if status == "hang":
                    time.sleep(1.0)
                    return  # nobody waits for an answer any more
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/examine"

    @staticmethod
    def answer(array):
        bright = (array > 128).astype(np.uint8)
        return {
            "version": "v7",
            "findings": [
                {"concept": "bright", "probability": float(bright.mean()), "label": 1},
                {"concept": "brightness", "value": float(array.mean()), "std": 2.0},
                {"concept": "edge", "not_assessed": "no edges here"},
            ],
            "mask_png": png(bright),
        }


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def settings(server):
    return {
        "url": server.url, "concepts": ["bright", "brightness", "edge", "unheard"], "server_version": "v7",
        "backoff_seconds": 0.01, "timeout_seconds": 5, "retries": 2,
    }  # fmt: skip


@pytest.fixture
def expert(adopt_from, settings):
    return lambda **changes: load_expert(adopt_from("http", {**settings, **changes}, overwrite=True))


def picture(shade, size=(9, 7)):
    return Image.new("L", size, shade)


def test_every_image_is_sent_alone_and_answers_come_back_in_order(server, expert):
    images = [picture(shade) for shade in (200, 10, 90, 160, 30)]
    found = expert().examine(images)
    assert [one.measurements["brightness"].value for one in found] == [200, 10, 90, 160, 30]
    assert [one.presences["bright"].probability for one in found] == [1, 0, 0, 1, 0]
    assert server.seen == [(7, 9)] * 5
    assert found[0].labels.shape == (7, 9) and found[0].label_of == {"bright": 1}
    assert server.headers[0]["X-Concepts"] == "bright,brightness,edge,unheard"


def test_what_the_server_does_not_say_is_not_assessed(expert):
    (found,) = expert().examine([picture(200)])
    assert found.not_assessed == {"edge": "the server: no edges here", "unheard": "the server says nothing of it"}


def test_busy_and_failing_servers_are_asked_again_and_then_named(server, expert):
    server.script = [(429, b""), (503, b"")]
    assert expert().examine([picture(10)])[0].measurements["brightness"].value == 10
    server.script = [(500, b"")] * 3
    with pytest.raises(ServerError, match="no answer in 3 attempts .HTTP 500"):
        expert().examine([picture(10)])
    server.script = [(404, b"")]
    with pytest.raises(ServerError, match="in 1 attempts .HTTP 404"):
        expert().examine([picture(10)])


def test_a_server_that_hangs_is_given_up(server, expert):
    server.script = [("hang", {})] * 2
    with pytest.raises(ServerError, match="no answer in 2 attempts"):
        expert(timeout_seconds=0.1, retries=1).examine([picture(10)])


def test_a_server_that_is_not_there_is_named(expert):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # held and not listened to: nobody else can take it meanwhile
        with pytest.raises(ServerError, match="Connection refused"):
            expert(url=f"http://127.0.0.1:{free.getsockname()[1]}/x", retries=0).examine([picture(10)])


def test_a_redirect_is_not_followed(server, expert):
    server.script = [(302, b"")]
    with pytest.raises(ServerError, match="a redirect, which is not followed"):
        expert().examine([picture(10)])
    assert len(server.seen) == 1


def test_large_images_are_not_sent_and_long_replies_not_read(server, expert):
    with pytest.raises(ValueError, match="max_image_bytes is 10"):
        expert(max_image_bytes=10).examine([picture(10)])
    assert server.seen == []
    with pytest.raises(ServerError, match="longer than max_reply_bytes"):
        expert(max_reply_bytes=50).examine([picture(10)])


CONCEPTS = ("bright", "edge")
BRIGHT = {"concept": "bright", "probability": 0.5}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"<html>", "Invalid JSON"),
        ({"findings": [{"concept": "bright", "probability": 1.2}]}, "less than or equal to 1"),
        (b'{"findings": [{"concept": "bright", "value": NaN, "std": 0.1}]}', "finite|Invalid JSON"),
        ({"findings": [{"concept": "cancer", "probability": 0.5}]}, "none of the card's"),
        ({"findings": [BRIGHT, BRIGHT]}, "comes twice"),
        ({"findings": [{"concept": "bright"}]}, "no probability, no value"),
        ({"findings": [{"concept": "bright", "value": 2.0}]}, "a value without std"),
        ({"findings": [{**BRIGHT, "not_assessed": "dark"}]}, "is not assessed and has"),
        ({"findings": [{**BRIGHT, "label": 1}]}, "there is no mask"),
        ({"findings": [BRIGHT], "mask_png": "%%%"}, "no base64 of a PNG"),
        ({"findings": [BRIGHT], "mask_png": png(np.zeros((7, 8), np.uint8))}, r"expected L .* of \(9, 7\)"),
        ({"findings": [BRIGHT], "mask_png": png(np.zeros((7, 9, 3), np.uint8))}, "the mask is RGB"),
        ({"findings": [BRIGHT], "report": "all is well"}, "Extra inputs"),
        ({"findings": [BRIGHT], "version": "v8"}, "says it is version 'v8'"),
    ],
)
def test_a_reply_that_lies_is_refused(reply, message):
    body = reply if isinstance(reply, bytes) else json.dumps({"version": "v7", **reply}).encode()
    with pytest.raises(BadReply, match=message):
        read_reply(body, (9, 7), CONCEPTS, version="v7")


def test_a_lying_server_stops_the_run(server, expert):
    server.script = [(200, {"version": "v7", "findings": [{"concept": "cancer", "probability": 1.0}]})]
    with pytest.raises(ServerError, match="breaks the agreement: the concept 'cancer'"):
        expert().examine([picture(10)])


def remote(**more):
    return HttpSettings(url="https://model.hospital.org:8443/x", concepts=("a",), **more)


def test_data_goes_only_where_its_rule_allows():
    check_data_use(remote(), "open")
    with pytest.raises(ValueError, match="local_only and the server is model.hospital.org"):
        check_data_use(remote(approved_endpoints=("model.hospital.org",)), "local_only")
    with pytest.raises(ValueError, match="not among them"):
        check_data_use(remote(approved_endpoints=("hospital.org", "model.hospital.org:443")), "approved_endpoints")
    check_data_use(remote(approved_endpoints=("model.hospital.org:8443",)), "approved_endpoints")


def test_nothing_is_sent_where_one_image_of_a_call_may_not_go(adopt_from, settings, monkeypatch):
    expert = load_expert(adopt_from("http", {**settings, "url": "https://model.hospital.org/x"}))
    monkeypatch.setattr(expert, "_post", lambda body: pytest.fail("sent"))
    with pytest.raises(ValueError, match="local_only"):
        expert.examine_in_context([picture(1)] * 2, [ImageContext(data_use="open"), ImageContext()])
    with pytest.raises(ValueError, match="local_only"):  # nothing known: the strictest
        expert.examine([picture(1)])


@pytest.mark.parametrize(
    ("url", "message"),
    [("ftp://x/y", "expected http"), ("http://me:secret@x/y", "holds a user name")],
)
def test_addresses_that_cannot_be_meant_are_refused(adopt_from, settings, url, message):
    with pytest.raises(DataError, match=message):
        adopt_from("http", {**settings, "url": url})


def test_a_token_is_never_sent_in_the_clear(adopt_from, settings, server, monkeypatch):
    with pytest.raises(DataError, match="needs https"):
        adopt_from("http", {**settings, "url": "http://model.org/x", "token_variable": "MODEL_TOKEN"})
    expert = load_expert(adopt_from("http", {**settings, "token_variable": "MODEL_TOKEN"}))
    with pytest.raises(ServerError, match="MODEL_TOKEN is not set"):
        expert.examine([picture(10)])
    monkeypatch.setenv("MODEL_TOKEN", "abc")
    expert.examine([picture(10)])
    assert server.headers[-1]["Authorization"] == "Bearer abc"


def test_a_run_over_cases_sends_local_data_to_loopback_and_writes_findings(adopt_from, settings, tmp_path):
    with DatasetBuild(tmp_path / "cases", "case", {}, data_use="local_only") as build:
        image = build.add_image(picture(200))
        build.commit("one", [Case(id="c", images=(image,), messages=(user("?", images=1),), domain="d",
                                  group_id="g", group_kind="patient")])  # fmt: skip
    out = run_expert(adopt_from("http", settings), tmp_path / "cases", tmp_path / "out")
    found = {f.concept: f for f in read_records(out, Finding)}
    assert {name: f.status for name, f in found.items()} == {
        "brightness": "present", "bright": "present", "edge": "not_assessed", "unheard": "not_assessed",
    }  # fmt: skip
    assert found["bright"].region.label == 1 and found["edge"].extra["why"] == "the server: no edges here"
    far = adopt_from("http", {**settings, "url": "https://model.hospital.org/x"}, name="far")
    with pytest.raises(ValueError, match="local_only"):
        run_expert(far, tmp_path / "cases", tmp_path / "far_out")
