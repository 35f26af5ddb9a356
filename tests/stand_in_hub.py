"""A server on loopback that speaks as much of the Hub's protocol as pushing and loading data sets needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """The repositories: name → path → content, and the private ones.

    Attributes:
        models: Names of model repositories.
        foreign: Owners to whom nobody here may write.
        commits: Of each commit its paths, as "+path" or "-path".
        uploads: SHA-256 of each large file that was sent.
        before: Called with each request's method and path; gives a status to refuse it with, or -1 to hang up.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.url = ""
        self.models: set[str] = set()
        self.foreign: set[str] = set()
        self.commits: list[list[str]] = []
        self.uploads: list[str] = []
        self.before: Callable[[str, str], int | None] = lambda method, path: None

    def revision(self, name: str) -> str:
        parts = sorted((path, hashlib.sha1(data).hexdigest()) for path, data in self.files[name].items())
        return hashlib.sha1(json.dumps(parts).encode()).hexdigest()

    def info(self, name: str) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in sorted(self.files[name])]
        return {"id": name, "sha": self.revision(name), "private": name in self.private, "siblings": siblings,
                "tags": [], "downloads": 0, "likes": 0}  # fmt: skip

    def tree(self, name: str, folder: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path, data in sorted(self.files[name].items()):
            if folder and not path.startswith(f"{folder}/"):
                continue
            parts = path[len(folder) + 1 if folder else 0 :].split("/")
            for depth in range(1, len(parts)):
                upper = "/".join([*([folder] if folder else []), *parts[:depth]])
                found[upper] = {"type": "directory", "path": upper, "oid": "0" * 40, "size": 0}
            found[path] = {"type": "file", "path": path, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}
        return list(found.values())

    def commit(self, name: str, lines: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Do what the lines say; None if another commit came in between."""
        files, told = dict(self.files[name]), []
        for line in lines:
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, self.revision(name)):
                return None
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
            if "path" in value:
                told.append(("-" if line["key"] == "deletedFile" else "+") + value["path"])
        self.files[name] = files
        self.commits.append(told)
        return {"commitUrl": f"{self.url}/datasets/{name}/commit/x", "commitOid": self.revision(name), "success": True}

    def mode(self, name: str, path: str) -> dict[str, Any]:
        """How a file is to be sent, and the digest of what is there."""
        large = path.endswith((".parquet", ".sqlite"))
        data = self.files.get(name, {}).get(path)
        answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if data is None:
            return answer
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return {**answer, "oid": hashlib.sha256(data).hexdigest() if large else blob}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        if self._refused():
            return None
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(found[1], found[3])
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            if found[1] not in self.hub.models:
                return self._answer({"error": "Repository not found"}, 404, code="RepoNotFound")
            return self._answer({"id": found[1], "private": False, "tags": [], "downloads": 0, "likes": 0})
        found = re.fullmatch(r"/api/datasets/([^/]+/[^/]+?)(?:/(revision|tree)/([^/]+)(?:/(.*))?)?", path)
        if not found:
            return self._answer({"error": "Entry not found"}, 404, code="EntryNotFound")
        if found[1] not in self.hub.files:
            return self._answer({"error": "Repository not found"}, 404, code="RepoNotFound")
        if found[2] == "tree":
            entries = self.hub.tree(found[1], found[4] or "")
            if found[4] and not entries:
                return self._answer({"error": "Entry not found"}, 404, code="EntryNotFound")
            return self._answer(entries)
        return self._answer(self.hub.info(found[1]))

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        data, oid = self._body(), self.path.rsplit("/", 1)[1]
        if self._refused():
            return
        self.hub.blobs[oid] = data
        self.hub.uploads.append(oid)
        self._answer({})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if self._refused():
            return None
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name.split("/")[0] in self.hub.foreign:
                return self._forbidden()
            self.hub.files.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(name)
            return self._answer({"url": f"{self.hub.url}/datasets/{name}", "name": name})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return self._answer(
                {"transfer": "basic", "objects": [self._upload(one) for one in json.loads(body)["objects"]]}
            )
        name = "/".join(path.split("/")[3:5])
        if name.split("/")[0] in self.hub.foreign:
            return self._forbidden()
        if "/preupload/" in path:
            return self._answer({"files": [self.hub.mode(name, file["path"]) for file in json.loads(body)["files"]]})
        if "/commit/" in path:
            done = self.hub.commit(name, [json.loads(line) for line in body.splitlines() if line])
            return self._answer(done) if done else self._answer({"error": "The expected parent is not the head"}, 412)
        return self._answer({"error": f"not spoken here: {path}"}, 501)

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        if one["oid"] in self.hub.blobs:
            return one
        return {**one, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{one['oid']}"}}}

    def _forbidden(self) -> None:
        self._answer({"error": "You don't have the rights to write here"}, 403)

    def _refused(self) -> bool:
        status = self.hub.before(self.command, self.path)
        if status is None:
            return False
        if status < 0:
            self.close_connection = True
        else:
            self._answer({"error": "refused"}, status)
        return True

    def _file(self, name: str, path: str) -> None:
        data = self.hub.files.get(name, {}).get(path)
        if data is None:
            return self._answer({"error": "Entry not found"}, 404, code="EntryNotFound")
        return self._send(data, 200, {"ETag": hashlib.sha1(data).hexdigest(), "X-Repo-Commit": self.hub.revision(name)})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value: Any, status: int = 200, code: str = "") -> None:
        self._send(json.dumps(value).encode(), status, {"X-Error-Code": code} if code else {})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def stand_in_hub() -> Iterator[Hub]:
    """A running stand-in; its `url` goes into HF_ENDPOINT of another process."""
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
