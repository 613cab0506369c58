"""An expert behind HTTP: each image is POSTed to a model server, and its reply is checked before it is used.

The request's body is the image as PNG (`Content-Type: image/png`); concept names go in the header
`X-Concepts`. The reply is JSON as `http_reply.Reply` describes it. Nothing is sent to a place that the data's
`data_use` does not allow: `local_only` goes to this machine only, `approved_endpoints` also to the hosts that the
settings list, `open` anywhere. Redirects are refused, since they would carry the image elsewhere.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from pydantic import Field, model_validator

from experts.expert_files import check_version, read_expert
from experts.http_reply import BadReply, read_reply
from experts.protocol import Examination, ExpertCard, ImageContext
from vlmalign.records.base import Part
from vlmalign.records.errors import ended
from vlmalign.records.loopback import is_loopback
from vlmalign.records.manifest import DataUse
from vlmalign.records.png import pixels_as_png

ARCHITECTURE = "http"
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 30.0


class ServerError(OSError):
    """A model server gave no usable answer; the message names the address and the reason."""


class HttpSettings(Part):
    """Where the server is, and what it may do."""

    url: str = Field(description="of the POST, http or https")
    concepts: tuple[str, ...] = Field(
        min_length=1, description="what the server assesses; anything else is refused"
    )
    approved_endpoints: tuple[str, ...] = Field(
        (), description="hosts (name or name:port) to which data of `approved_endpoints` may go"
    )
    server_version: str | None = Field(None, description="what the server must say it is; unset: not checked")
    thresholds: dict[str, float] = Field(default_factory=dict, description="by concept, for its probability")
    timeout_seconds: float = Field(30.0, gt=0)
    retries: int = Field(3, ge=0, le=10, description="further attempts after a timeout, 429 or 5xx")
    backoff_seconds: float = Field(0.5, ge=0, description="wait before the first further attempt; doubles")
    parallel: int = Field(4, ge=1, le=64, description="requests at a time")
    max_image_bytes: int = Field(20_000_000, ge=1, description="a larger PNG is refused, not sent")
    max_reply_bytes: int = Field(20_000_000, ge=1, description="a longer reply is refused, not read on")
    token_variable: str | None = Field(None, description="environment variable with the bearer token")

    @model_validator(mode="after")
    def _address_is_whole(self) -> HttpSettings:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url is {self.url!r}, expected http://host or https://host with a path")
        if parts.username or parts.password:
            raise ValueError("url holds a user name or a password: name an environment variable in token_variable")
        if self.token_variable and parts.scheme != "https" and not is_loopback(parts.hostname):
            raise ValueError("token_variable needs https: over http anybody on the way reads the token")
        return self


def check_data_use(settings: HttpSettings, data_use: DataUse) -> None:
    """Refuse to send data where it may not go.

    Raises:
        ValueError: naming the host, the rule and the remedy.

    Example:
        >>> check_data_use(HttpSettings(url="https://model.org/x", concepts=("a",)), "local_only")
        Traceback (most recent call last):
        ...
        ValueError: the data is local_only and the server is model.org, not here: run it on 127.0.0.1
    """
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    if data_use == "open" or is_loopback(host):
        return
    if data_use == "local_only":
        raise ValueError(f"the data is local_only and the server is {host}, not here: run it on 127.0.0.1")
    if not {host, f"{host}:{parts.port}"} & set(settings.approved_endpoints):
        raise ValueError(
            f"the data may go to approved_endpoints only, and {host} is not among them "
            f"({', '.join(settings.approved_endpoints) or 'none'}): have it approved and list it in the settings"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Follow nothing: the caller sees the redirect as an error."""


class HttpExpert:
    """A model server with its card."""

    def __init__(self, card: ExpertCard, settings: HttpSettings) -> None:
        self._card = card
        self.settings = settings
        handlers: list[Any] = [_NoRedirect()]
        if is_loopback(urlsplit(settings.url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))  # a proxy is another machine
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Examine images of which nobody said where they may go: on this machine only."""
        return self.examine_in_context(images, [ImageContext()] * len(images))

    def examine_in_context(
        self, images: Sequence[Image.Image], contexts: Sequence[ImageContext]
    ) -> list[Examination]:
        """Examine images, each in a request of its own.

        Raises:
            ValueError: the data may not go to the server, or an image is too large; nothing was sent.
            ServerError: no answer after all attempts, or one that breaks the agreement.
        """
        for use in {context.data_use for context in contexts}:
            check_data_use(self.settings, use)
        bodies = [self._encode(image) for image in images]
        with ThreadPoolExecutor(self.settings.parallel) as pool:
            return list(pool.map(self._ask, bodies, [image.size for image in images]))

    def _encode(self, image: Image.Image) -> bytes:
        body = pixels_as_png(image)  # a colour profile may name a person or a place
        if len(body) > self.settings.max_image_bytes:
            raise ValueError(
                f"an image of {image.size} pixels is {len(body)} bytes as PNG, max_image_bytes is "
                f"{self.settings.max_image_bytes}: raise it, or reduce the image"
            )
        return body

    def _ask(self, body: bytes, size: tuple[int, int]) -> Examination:
        wait, last = self.settings.backoff_seconds, ""
        for attempt in range(self.settings.retries + 1):
            if attempt:
                time.sleep(min(wait, LONGEST_WAIT))
                wait *= 2
            try:
                reply = self._post(body)
            except ServerError:
                raise
            except urllib.error.HTTPError as error:
                last = f"HTTP {error.code} {error.reason}"
                if 300 <= error.code < 400:
                    last += ", a redirect, which is not followed: give the final address"
                error.close()
                if error.code not in AGAIN:
                    break
                wait = max(wait, _retry_after(error))
            except (urllib.error.URLError, HTTPException, OSError) as error:
                reason = getattr(error, "reason", None) or error
                last = f"{type(error).__name__}: {reason}"
            else:
                return self._read(reply, size)
        raise ServerError(
            f"{self.settings.url} gave no answer in {attempt + 1} attempts ({last}): check the server, then run "
            "the same command again; it continues"
        )

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "image/png", "X-Concepts": ",".join(self.settings.concepts)}
        variable = self.settings.token_variable
        if variable:
            token = os.environ.get(variable)
            if not token:
                raise ServerError(f"the environment variable {variable} is not set: set it to the server's token")
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.settings.url, data=body, headers=headers, method="POST")
        with self._opener.open(request, timeout=self.settings.timeout_seconds) as response:
            found: bytes = response.read(self.settings.max_reply_bytes + 1)
        return found

    def _read(self, reply: bytes, size: tuple[int, int]) -> Examination:
        limit = self.settings.max_reply_bytes
        if len(reply) > limit:
            raise ServerError(f"{self.settings.url}: the reply is longer than max_reply_bytes, {limit}: raise it")
        try:
            return read_reply(
                reply,
                size,
                self.settings.concepts,
                version=self.settings.server_version,
                thresholds=self.settings.thresholds,
            )
        except BadReply as error:
            raise ServerError(
                f"{self.settings.url} breaks the agreement: {ended(str(error))} Correct the server."
            ) from None


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds that the server asks to wait; 0 where it says nothing or a date."""
    text = (error.headers.get("Retry-After") or "") if error.headers else ""
    return float(text) if text.isdigit() else 0.0


def load_http(folder: Path) -> HttpExpert:
    """Load the settings of a model server; nothing is sent.

    Raises:
        DataError: `expert.json` is missing, damaged, or changed by hand.
    """
    card, settings = read_expert(folder, HttpSettings)
    check_version(folder, card, settings, ())
    return HttpExpert(card, settings)
