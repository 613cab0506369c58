"""Where data may be sent, checked before the first request.

A folder's manifest says `data_use`. PhysioNet's credentialed licence bars sending MIMIC's data to third-party
services, and so do many hospitals' agreements: such folders are `local_only`, or `approved_endpoints` where an
agreement names a service. All that is made of a folder inherits its rule.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from vlmalign.records import DataError, loopback
from vlmalign.records.manifest import DataUse, strictest

PORTS = {"http": 80, "https": 443}
Resolve = Callable[[str], Sequence[str]]


class DataUseError(DataError):
    """Data would go where its folder's rule forbids."""


def check_data_use(
    folders: Mapping[Path, DataUse],
    endpoints: Sequence[str | None],
    approved: Sequence[str] = (),
    *,
    resolve: Resolve | None = None,
) -> None:
    """Refuse endpoints that the strictest rule of the folders forbids.

    ==================== ====================================================================================
    `open`               any endpoint
    `approved_endpoints` this process, this machine (loopback), and URLs that `approved` lists
    `local_only`         this process, this machine (loopback); a further machine only if `approved` lists it
                         *and* every address of its name is private (RFC 1918, RFC 4193): one's own network
    ==================== ====================================================================================

    A listed URL stands for itself and all paths below it, with the same scheme, host and port. What a server on
    this machine does with the data (a tunnel, a gateway, a model in a cloud) cannot be seen from here: who starts
    one answers for it.

    Args:
        folders: folder -> what its manifest says.
        endpoints: base URLs; None for a model in this process.
        approved: URLs that the user lists.
        resolve: host name -> addresses; default the system's.

    Raises:
        DataUseError: naming the folder, its rule, the endpoint and the remedy.
    """
    rule = strictest(folders.values())
    for endpoint in endpoints:
        if rule == "open" or endpoint is None or is_loopback(endpoint):
            continue
        listed = any(covers(url, endpoint) for url in approved)
        if listed and (rule == "approved_endpoints" or _is_own_network(endpoint, resolve or _addresses)):
            continue
        folder = next(path for path, use in folders.items() if use == rule)
        raise DataUseError(*_refusal(rule, endpoint, listed), file=folder, field="data_use")


def _refusal(rule: DataUse, endpoint: str, listed: bool) -> tuple[str, str]:
    if rule == "approved_endpoints":
        return (
            f"data_use is approved_endpoints, and {endpoint} is not among the approved_endpoints of the config",
            "List it there if the data's licence or agreement allows it, or judge with a local model.",
        )
    why = "is listed, but is not on a private network" if listed else "is not on this machine"
    return (
        f"data_use is local_only, and {endpoint} {why}",
        "Judge with a model in this process (backend: huggingface) or with a server on this machine; a machine of "
        "your own network must also be listed under approved_endpoints.",
    )


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine: `localhost`, 127.0.0.0/8 or ::1.

    Example:
        >>> [is_loopback(f"http://{h}/v1") for h in ("127.0.0.1:8000", "[::1]", "localhost", "localhost.evil.org")]
        [True, True, True, False]
    """
    return loopback.is_loopback(urlsplit(url).hostname or "")  # which is in lower case


def covers(listed: str, url: str) -> bool:
    """Whether a listed URL stands for another one.

    Example:
        >>> covers("https://llm.example.org/v1", "https://LLM.example.org:443/v1/")
        True
        >>> covers("https://llm.example.org/v1", "https://llm.example.org/v10")
        False
    """
    ours, theirs = urlsplit(listed), urlsplit(url)
    if _origin(ours) != _origin(theirs) or ".." in theirs.path.split("/") or "%" in theirs.path:
        return False
    return (theirs.path.rstrip("/") + "/").startswith(ours.path.rstrip("/") + "/")


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme)


def _addresses(host: str) -> Sequence[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except OSError:
        return []


def _is_own_network(url: str, resolve: Resolve) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        addresses: Sequence[str] = [str(ipaddress.ip_address(host))]
    except ValueError:
        addresses = resolve(host)
    found = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    return bool(found) and all(a.is_private or a.is_loopback for a in found)
