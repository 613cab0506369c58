"""Items to judge, and judges that say what a script tells them."""

import asyncio

import pytest

from data_builders.judges.asking import JudgeAnswer, JudgeItem, JudgeReply
from vlmalign.records import assistant, user


class Script:
    """A judge that answers from a script: replies in turn, one for all, or a function of the request."""

    def __init__(self, replies):
        self.replies = replies
        self.requests = []

    async def ask(self, request):
        self.requests.append(request)
        reply = self.replies
        if isinstance(reply, list):
            reply = reply[len(self.requests) - 1]
        elif callable(reply):
            reply = reply(request)
        return reply if isinstance(reply, JudgeReply) else JudgeReply("answered", reply, model="scripted")

    @property
    def prompts(self):
        """The texts of all requests."""
        return [request.messages[0].text for request in self.requests]


@pytest.fixture
def script():
    return Script


@pytest.fixture
def item():
    """An item of answers with ids a, b, ... to one question."""

    def make(*texts, reference=None, name="i1"):
        answers = tuple(JudgeAnswer(chr(ord("a") + n), (assistant(text),)) for n, text in enumerate(texts))
        return JudgeItem(name, "c1", (user("Describe the film.", images=0),), (), answers, reference)

    return make


@pytest.fixture
def judged():
    """Run a protocol on an item; a jury is one script, or several by name."""

    def run(protocol, item, jury):
        asks = {"m": jury.ask} if isinstance(jury, Script) else {name: each.ask for name, each in jury.items()}
        return asyncio.run(protocol.judge(item, asks))

    return run
