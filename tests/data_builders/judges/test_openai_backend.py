"""What leaves for an endpoint: the chat, the picture and nothing besides, and only to the host that was named."""

import asyncio
import base64
import io
import json
import zlib

import pytest
from PIL import Image, PngImagePlugin

from data_builders.judges.asking import JudgeImage, JudgeRequest
from data_builders.judges.backend import EndpointError
from data_builders.judges.images import data_url
from data_builders.judges.openai_backend import OpenAIBackend
from data_builders.judges.running import run_judges
from vlmalign.records import DataError, Message, assistant, user
from vlmalign.records.hashing import sha256_file

from .scripted import completion, error, folder_bytes

KEY = "sk-very-secret-0123456789"


def stored(path, picture, **options):
    picture.save(path, **options)
    return JudgeImage(path, sha256_file(path))


def sent(url):
    kind, _, data = url.partition(",")
    return kind, base64.b64decode(data)


def ask(server, request, **options):
    async def once():
        backend = OpenAIBackend("scripted", base_url=server.url, **options)
        try:
            return await backend.answer(await backend.prepare(request), request, seed=2**40 + 5)
        finally:
            await backend.close()

    return asyncio.run(once())


def test_images_stand_in_their_places_with_their_pixels(serve, tmp_path):
    red, blue = (stored(tmp_path / f"{c}.png", Image.new("RGB", (4, 4), c)) for c in ("red", "blue"))
    system = Message(role="system", content=({"type": "text", "text": "You judge."},))
    server = serve()
    ask(server, JudgeRequest((system, user("A", 1), assistant("B"), user("C", 1)), (red, blue), "p@1"))
    first, second, third, fourth = server.bodies[0]["messages"]
    assert (first["content"], third) == ("You judge.", {"role": "assistant", "content": "B"})
    for turn, colour, text in ((second, (255, 0, 0), "A"), (fourth, (0, 0, 255), "C")):
        kind, data = sent(turn["content"][0]["image_url"]["url"])
        assert kind == "data:image/png;base64" and turn["content"][1] == {"type": "text", "text": text}
        assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == colour


def test_a_file_name_tells_the_judge_nothing(serve, tmp_path):
    image = stored(tmp_path / "VERDICT A, Jane Doe.png", Image.new("RGB", (4, 4)))
    server = serve()
    ask(server, JudgeRequest((user("A", 1),), (image,), "p@1"))
    sent_whole = json.dumps(server.bodies[0])
    assert "Doe" not in sent_whole and "VERDICT" not in sent_whole and str(tmp_path) not in sent_whole


def test_only_sampling_sends_a_seed_and_options_reach_the_server(serve):
    server = serve()
    options = {"extra_body": {"top_k": 5}, "token_limit": "max_completion_tokens"}
    for temperature in (0.0, 0.7):
        ask(server, JudgeRequest((user("A"),), (), "p@1", temperature=temperature, max_tokens=9), **options)
    greedy, sampled = server.bodies
    assert "seed" not in greedy and 0 <= sampled["seed"] < 2**31
    assert (sampled["temperature"], sampled["max_completion_tokens"], sampled["top_k"]) == (0.7, 9, 5)


def test_text_inside_an_image_file_stays_here_and_bare_files_go_as_they_are(tmp_path):
    picture = Image.effect_noise((8, 8), 50).convert("RGB")
    bare = stored(tmp_path / "bare.png", picture)
    assert sent(data_url(bare))[1] == (tmp_path / "bare.png").read_bytes()
    comment = PngImagePlugin.PngInfo()
    comment.add_text("PatientName", "Jane Roe")
    exif = Image.Exif()
    exif[0x010E] = "Jane Roe"
    named = [
        stored(tmp_path / "named.png", picture, pnginfo=comment),
        stored(tmp_path / "named.tiff", picture, description="Jane Roe"),
        stored(tmp_path / "named.jpg", picture, exif=exif),
        stored(tmp_path / "profile.webp", picture, lossless=True, icc_profile=b"of Jane Roe's scanner"),
    ]
    for image in named:
        kind, data = sent(data_url(image))
        assert b"Jane" in image.path.read_bytes() and b"Jane" not in data and kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(data)).tobytes() == Image.open(image.path).tobytes()
    profile = stored(tmp_path / "profile.png", picture, icc_profile=b"of Jane Roe's scanner")
    assert Image.open(io.BytesIO(sent(data_url(profile))[1])).info == {}


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_name_in_a_part_that_no_reader_tells_of_stays_here(tmp_path, kind):
    path = tmp_path / f"bare.{kind}"
    bare = stored(path, Image.effect_noise((32, 24), 50).convert("RGB"))
    whole = path.read_bytes()
    assert sent(data_url(bare))[1] == whole
    part = {
        "png": b"\x00\x00\x00\x04prVtJane" + zlib.crc32(b"prVtJane").to_bytes(4, "big"),
        "jpeg": b"\xff\xe4\x00\x06Jane",
        "webp": b"",
    }[kind]
    start = {"png": 33, "jpeg": 2, "webp": len(whole)}[kind]
    for named in {whole[:start] + part + whole[start:], whole + b"Jane"} - {whole}:
        path.write_bytes(named)
        image, data = JudgeImage(path, sha256_file(path)), sent(data_url(JudgeImage(path, sha256_file(path))))[1]
        assert b"Jane" in image.path.read_bytes() and b"Jane" not in data
        assert Image.open(io.BytesIO(data)).tobytes() == Image.open(path).tobytes()


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="x.png: the image cannot be decoded"):
        data_url(JudgeImage(tmp_path / "x.png", sha256_file(tmp_path / "x.png")))


def test_a_redirect_is_not_followed(serve):
    elsewhere = serve()
    server = serve(lambda p, a: (307, {}, {"location": elsewhere.url + "/chat/completions"}))
    with pytest.raises(EndpointError, match="redirect, which is not followed"):
        ask(server, JudgeRequest((user("A"),), (), "p@1"))
    assert not elsewhere.seen


def test_a_proxy_of_the_environment_does_not_see_what_stays_on_this_machine(serve, monkeypatch):
    proxy, server = serve(), serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    ask(server, JudgeRequest((user("A"),), (), "p@1"))
    assert server.seen.total() == 1 and not proxy.seen


def test_the_key_reaches_the_server_and_no_file_nor_message(serve, configure, naps, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MY_JUDGE_KEY", KEY)

    def parrot(prompt, attempt):
        """It repeats the key wherever it can."""
        if prompt.endswith("0.0"):
            return completion(f"your key is {KEY}")
        return (
            error(500, f"bad key {KEY}") if prompt.endswith("1.0") else completion(None, refusal=f"not for {KEY}")
        )

    server = serve(parrot)
    config = configure(server, n=3, judge={"api_key_env": "MY_JUDGE_KEY"}, retries={"attempts": 2})
    run_judges(config, sleep=naps)
    assert {h["authorization"] for h in server.headers} == {f"Bearer {KEY}"}
    written = folder_bytes(tmp_path)
    assert any(b"[key]" in data for data in written.values())
    assert not any(KEY.encode() in data for data in written.values())
    stop = serve(lambda p, a: error(401, f"invalid key {KEY}"))
    with pytest.raises(EndpointError) as refused:
        ask(stop, JudgeRequest((user("A"),), (), "p@1"), api_key_env="MY_JUDGE_KEY")
    assert KEY not in str(refused.value) and KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "given, said", [(KEY, "is not the name of"), ("NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE holds")]
)
def test_a_key_in_the_place_of_its_variable_is_refused_without_showing_it(given, said):
    with pytest.raises(ValueError, match=said) as refused:
        OpenAIBackend("m", api_key_env=given)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "localhost:8000", f"https://u:{KEY}@x/v1", f"https://x/v1?key={KEY}"]
)
def test_an_address_with_a_secret_or_none_at_all_is_refused(url):
    with pytest.raises(ValueError, match="base_url") as refused:
        OpenAIBackend("m", base_url=url)
    assert KEY not in str(refused.value)


def test_half_a_character_does_not_break_the_files(serve):
    reply = ask(serve(lambda p, a: completion("\ud83d 7")), JudgeRequest((user("A"),), (), "p@1"))
    assert json.dumps(reply.text, ensure_ascii=False).encode() == b'"? 7"'


def test_openai_itself_is_not_asked_without_a_key():
    with pytest.raises(ValueError, match="api_key_env is not given"):
        OpenAIBackend("m")


@pytest.mark.parametrize("field", [{"api_key": KEY}, {"router": [{"Authorization": KEY}]}, {"access_token": KEY}])
def test_a_key_among_the_further_fields_is_refused_as_they_are_written_into_manifests(field):
    with pytest.raises(ValueError, match="extra_body.*would be written into manifests") as refused:
        OpenAIBackend("m", base_url="http://127.0.0.1:1/v1", extra_body=field)
    assert KEY not in str(refused.value)
    OpenAIBackend("m", base_url="http://127.0.0.1:1/v1", extra_body={"stop_token_ids": [1], "max_tokens": 9})
