"""Joins a Ray cluster, or starts one on this machine, quietly; leaves it when nobody needs it any more."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import EngineError, MissingExtraError, one_line

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a warning of a change to come
}
_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_CONNECT_SECONDS = 5.0
_CLIENT_ATTEMPTS = 3  # a head forks a server for each client from a process with many threads; now and then it dies
_STORE_BYTES = 200 * 1024**2  # of a Ray started here; requests and replies are small
_USERS: list[object] = []  # who uses the connection that was made here


def library() -> ModuleType:
    """Ray itself.

    Raises:
        MissingExtraError: If it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as fault:
        raise MissingExtraError("ray", "ray") from fault


def join(address: str, user: object) -> ModuleType:
    """Connect this process to a cluster, unless it is connected already.

    Args:
        address: As `Place.address`.
        user: Who leaves it again.

    Raises:
        EngineError: If there is none at the address.
        MissingExtraError: If Ray is not installed.
    """
    ray = library()
    if ray.is_initialized():
        if _USERS:
            _USERS.append(user)
        return ray
    with _signals_kept():
        _connect(ray, address)
    _USERS.append(user)
    return ray


def leave(user: object) -> None:
    """Disconnect, after the last user, what `join` connected. A Ray that it started ends with that."""
    if not any(user is other for other in _USERS):
        return
    _USERS[:] = [other for other in _USERS if other is not user]
    if not _USERS:
        library().shutdown()


def nodes_of(ray: ModuleType) -> list[Mapping[str, float]]:
    """The resources of each living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _connect(ray: ModuleType, address: str) -> None:
    named = address if address not in ("", "auto") else _around()
    missed = _missed(named) if named else "ray start --head was not run on this machine, and RAY_ADDRESS is not set"
    if missed and not address and not os.environ.get("RAY_ADDRESS"):
        with loopback_only():
            _init(ray, "local", include_dashboard=False, object_store_memory=_STORE_BYTES)
    elif missed:
        raise EngineError(_nobody(named or "ray:auto", missed))
    else:
        with loopback_only() if _on_loopback_alone(ray, named) else nullcontext():
            _init(ray, named)


def _around() -> str:
    """The address of the environment, or of the last `ray start` on this machine; empty where there is none.

    Ray's own search also finds the private Rays of other processes, which end with them.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    if given not in ("", "auto", "local"):
        return given
    try:
        return (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster").read_text().strip()  # noqa: S108 - Ray has it
    except OSError:
        return ""


def _init(ray: ModuleType, address: str, attempts: int = _CLIENT_ATTEMPTS, **options: object) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError) as fault:
        ray.shutdown()  # what is there of it already
        if isinstance(fault, ConnectionAbortedError) and attempts > 1:
            _init(ray, address, attempts - 1, **options)
            return
        text = "no Ray could be started here" if address == "local" else f"the cluster at {address} cannot be used"
        raise EngineError(f"on ray: {text}: {one_line(fault)}") from None


def _missed(address: str) -> str:
    """Why nobody can be reached at an address; empty where somebody listens. Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as fault:
        return one_line(fault)
    return ""


def _on_loopback_alone(ray: ModuleType, address: str) -> bool:
    """Whether a Ray of this machine listens on 127.0.0.1 only, in place of which Ray would take the outer address."""
    host, _, port = address.rpartition(":")
    return host in ("127.0.0.1", "localhost") and bool(_missed(f"{ray.util.get_node_ip_address()}:{port}"))


def _nobody(address: str, reason: str) -> str:
    return (
        f"on ray: no cluster at {address} ({reason}); start one with: ray start --head, or take this machine: --on ray"
    )


@contextmanager
def loopback_only() -> Iterator[None]:
    """While this holds, a Ray that is started listens on 127.0.0.1 only, as on macOS: its servers know no password."""
    constants: Any = import_module("ray._private.ray_constants")
    before = getattr(constants, "ENABLE_RAY_CLUSTER", True), os.environ.get(_CLUSTER)
    constants.ENABLE_RAY_CLUSTER, os.environ[_CLUSTER] = False, "0"  # the second for the processes that Ray starts
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before[0]
        if before[1] is None:
            del os.environ[_CLUSTER]
        else:
            os.environ[_CLUSTER] = before[1]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray sets handlers of its own, which would end the process past what the caller has to say."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
