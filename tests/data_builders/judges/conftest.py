"""Servers to ask, and folders to judge."""

import pytest

from data_builders.judges import registry
from data_builders.judges.config import JudgeConfig

from .one_number import OneNumber
from .scripted import ScriptedServer, write_inputs


@pytest.fixture
def serve():
    """Start scripted servers."""
    started = []

    def start(*script):
        started.append(ScriptedServer(*script))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(autouse=True)
def one_number(monkeypatch):
    monkeypatch.setitem(registry.PROTOCOLS, "one-number", OneNumber)


@pytest.fixture
def inputs(tmp_path):
    return lambda **more: write_inputs(tmp_path, **more)


@pytest.fixture
def configure(tmp_path, inputs):
    """A config for one scripted server over fresh inputs, with whatever else is given."""

    def make(server, *, n=3, judge=None, written=None, **more):
        folders = inputs(n=n) if written is None else written
        url = server if isinstance(server, str) else server.url
        one = {"backend": "openai", "model": "scripted", "base_url": url, "concurrency": 4, **(judge or {})}
        settings = {
            "protocol": {"name": "one-number"}, "judges": one, **folders, "out": tmp_path / "out",
            "cache": tmp_path / "cache", **more,
        }  # fmt: skip
        return JudgeConfig.model_validate(settings)

    return make


@pytest.fixture
def naps():
    """A sleep that takes no time and notes what was asked of it."""
    taken = []

    async def sleep(seconds):
        taken.append(seconds)

    sleep.taken = taken
    return sleep


@pytest.fixture(scope="session")
def tiny_judge(tmp_path_factory, make_family):
    """A random Llama with a chat template, saved."""
    import torch
    import transformers as hf

    vlm = make_family("llava")
    torch.manual_seed(0)
    tokenizer = vlm.tokenizer
    tokenizer.chat_template = vlm.processor.chat_template
    config = hf.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=1024, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.5,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tiny_judge")
    hf.LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_seeing_judge(tmp_path_factory, make_family):
    """A random LLaVA, saved."""
    vlm = make_family("llava")
    path = tmp_path_factory.mktemp("tiny_seeing_judge")
    vlm.model.save_pretrained(path)
    vlm.processor.save_pretrained(path)
    return path
