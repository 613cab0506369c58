"""A judge behind any OpenAI-compatible chat endpoint: OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from data_builders.judges.asking import JudgeImage, JudgeReply, JudgeRequest
from data_builders.judges.backend import EndpointError, TransientError
from data_builders.judges.data_use import is_loopback
from data_builders.judges.images import data_url
from vlmalign.records import Message
from vlmalign.records.hashing import sha256_bytes

INSTALL = "The openai client is not installed: pip install 'vlmalign[judge]'"
NAME_OF_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
SECRET = re.compile(
    r"api[-_]?key|authori[sz]ation|passw|secret|credential|bearer|(access|auth)[-_]token", re.IGNORECASE
)
RETRIED = {408, 409, 425, 429}  # and all from 500
REMEDIES = {
    400: "Correct the model's options (extra_body, temperature, max_tokens), or choose a model that sees images.",
    401: "Put a valid key into the environment variable that api_key_env names.",
    403: "Use a key that may use this model.",
    404: "Correct base_url (it ends on /v1 with most servers) or the model's name.",
    413: "Send smaller images.",
}
SHOWN = 300  # characters of a server's message
KEY_NEEDED = "api.openai.com"


class OpenAIBackend:
    """An OpenAI-compatible endpoint.

    The client's own retries are off: those of `JudgeClient` are seen and counted. Redirects are not followed, and
    proxies of the environment are used for encrypted connections to other machines only, so that data go to the
    host that was named and checked, and can be read by no other. The key is read from the environment; it is in no
    record, cache or message.

    Args:
        model: name of the model at the endpoint.
        base_url: of the API, e.g. `http://127.0.0.1:8000/v1`.
        api_key_env: name of the environment variable that holds the key; None for servers that ask for none.
        id: name in records; default the model's, of a path the last part.
        extra_body: further fields of every request.
        concurrency: requests in flight at once.
        timeout: seconds that one attempt may take.
        token_limit: name of the field that holds the limit; new OpenAI models want `max_completion_tokens`.
        send_temperature: False for models that refuse the field.

    Raises:
        ValueError: a URL with a user, password or query, an `extra_body` with a secret, or the variable is not
            set.
        ImportError: the `openai` package is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str | None = None,
        id: str = "",
        extra_body: Mapping[str, Any] | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        token_limit: str = "max_tokens",
        send_temperature: bool = True,
    ) -> None:
        self.model = model
        self.endpoint: str | None = check_url(base_url)
        name = name_of(model)
        self.id = id or name.partition("@")[0]
        self.concurrency = concurrency
        self.extra_body = json.loads(json.dumps(extra_body or {}))
        refuse_secrets(self.extra_body)
        self.identity: Mapping[str, Any] = {"backend": "openai", "model": name, "extra_body": self.extra_body}
        if not send_temperature:
            self.identity = {**self.identity, "send_temperature": False}
        self._token_limit, self._send_temperature = token_limit, send_temperature
        self._key = _key_from(api_key_env)
        if not self._key and urlsplit(base_url).hostname == KEY_NEEDED:
            raise ValueError(
                f"{KEY_NEEDED} answers nobody without a key, and api_key_env is not given. Set api_key_env: "
                "OPENAI_API_KEY, or base_url to your own server's address."
            )
        try:
            import openai
        except ImportError as error:
            raise ImportError(INSTALL) from error
        self._openai = openai
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(
                follow_redirects=False,
                trust_env=base_url.startswith("https:") and not is_loopback(base_url),
                timeout=timeout,
            ),
        )

    async def prepare(self, request: JudgeRequest) -> dict[str, Any]:
        """The body of a request."""
        urls = await asyncio.to_thread(lambda: [data_url(image) for image in request.images])
        body: dict[str, Any] = {
            "model": self.model,
            "messages": chat(request.messages, request.images, urls),
            self._token_limit: request.max_tokens,
        }
        if self._send_temperature:
            body["temperature"] = request.temperature
        return body

    async def answer(self, prepared: dict[str, Any], request: JudgeRequest, seed: int) -> JudgeReply:
        """Ask once; a seed goes with what is sampled."""
        body = prepared if request.temperature == 0 else {**prepared, "seed": seed & 0x7FFFFFFF}
        try:
            completion = await self._client.chat.completions.create(**body, extra_body=self.extra_body or None)
        except self._openai.APITimeoutError:
            raise TransientError("the server took too long") from None
        except self._openai.APIResponseValidationError:
            raise TransientError("the server's reply is malformed") from None
        except self._openai.APIConnectionError as error:
            raise TransientError(f"no connection ({self._safe(error.__cause__ or error)})") from None
        except self._openai.APIStatusError as error:
            return self._refusal(error)
        except ValueError:  # not JSON
            raise TransientError("the server's reply is malformed") from None
        reply = read_completion(completion)
        text, model = self._safe(reply.text, None), self._safe(reply.model).replace(self.model, self.id)
        return JudgeReply(
            reply.state, text, model, self._safe(reply.reason), reply.prompt_tokens, reply.completion_tokens
        )

    def _refusal(self, error: Any) -> JudgeReply:
        """What an HTTP status means: try again, the model refuses, this request cannot be answered, or stop."""
        status, code = error.status_code, str(error.code or "")
        said = self._safe(error.message)
        if code == "insufficient_quota":
            raise self._stop(status, said, "Pay in at the provider, or use another key.")
        if status in RETRIED or status >= 500:
            raise TransientError(f"status {status}: {said}", _retry_after(error.response.headers))
        if "content_filter" in code or "content_policy" in code:
            return JudgeReply("refused", model=self.model, reason=f"a filter before the model: {said}")
        if code == "context_length_exceeded" or "context length" in said:
            return JudgeReply("failed", model=self.model, reason=f"longer than the model reads: {said}")
        if 300 <= status < 400:
            raise self._stop(
                status, "a redirect, which is not followed", "Give the address it leads to as base_url."
            )
        raise self._stop(status, said, REMEDIES.get(status, "See what the server says."))

    def _stop(self, status: int, said: str, remedy: str) -> EndpointError:
        return EndpointError(
            f"{self.endpoint} answered with status {status} to model {self.model!r} ({said.rstrip('.')}). {remedy}"
        )

    def _safe(self, text: object, shown: int | None = SHOWN) -> str:
        """A server's words without the key, should it repeat it; messages in one line and not too long."""
        clean = str(text).encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written
        if self._key:
            clean = clean.replace(self._key, "[key]")
        return clean if shown is None else " ".join(clean.split())[:shown]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def name_of(model: str) -> str:
    """A model's name in records: some servers know their models by a path, which tells of the machine.

    Example:
        >>> name_of("org/model-7b"), name_of("/home/me/model-7b")
        ('org/model-7b', 'model-7b@54f955a7')
    """
    if not model.startswith(("/", "~", ".")):
        return model
    return f"{model.rstrip('/').rpartition('/')[2]}@{sha256_bytes(model.encode())[:8]}"


def check_url(url: str) -> str:
    """The URL, if it holds an address and nothing secret.

    Raises:
        ValueError: no http(s) URL; a user, password, query or fragment in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url is {url!r}: expected http://HOST/... or https://HOST/...")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"base_url of {parts.hostname} holds a user, password or query: addresses are written into messages. "
            "Keep keys in the environment variable that api_key_env names."
        )
    return url.rstrip("/")


def refuse_secrets(fields: Any, place: str = "extra_body") -> None:
    """Refuse fields that hold a secret by their name: they are part of what identifies a judge, and so of
    manifests.

    Raises:
        ValueError: names the field, not its value.

    Example:
        >>> refuse_secrets({"top_k": 5, "max_tokens": 9, "user": {"api_key": "sk-1"}})
        Traceback (most recent call last):
        ...
        ValueError: extra_body.user.api_key would be written into manifests and caches: use api_key_env
    """
    for name, value in fields.items() if isinstance(fields, dict) else enumerate(fields):
        if SECRET.search(str(name)):
            raise ValueError(f"{place}.{name} would be written into manifests and caches: use api_key_env")
        if isinstance(value, (dict, list)):
            refuse_secrets(value, f"{place}.{name}")


def _key_from(variable: str | None) -> str:
    if variable is None:
        return ""
    if not NAME_OF_VARIABLE.fullmatch(variable):  # perhaps the key itself: not shown
        raise ValueError(
            "api_key_env is not the name of an environment variable (capitals, digits and _). Give the variable's "
            "name, never the key."
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ValueError(f"the environment variable {variable} holds no key. Set it: export {variable}=...")
    return key


def chat(messages: tuple[Message, ...], images: tuple[JudgeImage, ...], urls: list[str]) -> list[dict[str, Any]]:
    """Messages in OpenAI's form; a turn without images is plain text, which every server reads.

    Raises:
        ValueError: other than one image for every place.

    Example:
        >>> from vlmalign.records import user
        >>> chat((user("Is it right?"),), (), [])
        [{'role': 'user', 'content': 'Is it right?'}]
    """
    places = sum(message.n_images for message in messages)
    if places != len(images):
        raise ValueError(
            f"the request has {places} image places and {len(images)} images: one for each is required"
        )
    left = iter(urls)
    return [
        {"role": m.role, "content": m.text}
        if not m.n_images
        else {
            "role": m.role,
            "content": [
                {"type": "text", "text": part.text}
                if part.type == "text"
                else {"type": "image_url", "image_url": {"url": next(left)}}
                for part in m.content
            ],
        }
        for m in messages
    ]


def read_completion(completion: Any) -> JudgeReply:
    """What a chat completion says.

    Raises:
        TransientError: it has not the form of one.
    """
    try:
        choice = completion.choices[0]
        reason, message = choice.finish_reason, choice.message
        text, refusal = message.content, getattr(message, "refusal", None)
        usage = completion.usage
        counts = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
        model = completion.model or ""
    except (AttributeError, IndexError, TypeError):
        raise TransientError("the server's reply is malformed") from None
    if text is not None and not isinstance(text, str):
        raise TransientError("the server's reply is malformed")
    read, written = (n if isinstance(n, int) and n >= 0 else None for n in counts)
    if reason == "content_filter" or refusal:
        why = f"the model refused: {refusal}" if refusal else "a filter stopped the reply"
        return JudgeReply("refused", "", model, why, read, written)
    if reason == "length":
        return JudgeReply("cut", text or "", model, "the token limit was reached", read, written)
    if not (text or "").strip():
        return JudgeReply("failed", "", model, "the reply is empty", read, written)
    return JudgeReply("answered", text or "", model, "", read, written)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from `Retry-After` as a number or as a date."""
    from email.utils import parsedate_to_datetime
    from time import time

    said = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time())
    except (TypeError, ValueError):
        return None
