"""A server on loopback that speaks as much of the Hub's protocol as pushing and loading data sets needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """The repositories: name → path → content, and the private ones."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.url = ""

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

    def commit(self, name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[name][value["path"]] = self.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                self.files[name].pop(value["path"])
        return {"commitUrl": f"{self.url}/datasets/{name}/commit/x", "commitOid": self.revision(name), "success": True}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(found[1], found[3])
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
        self.hub.blobs[self.path.rsplit("/", 1)[1]] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
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
        if "/preupload/" in path:
            files = [{"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                      "shouldIgnore": False} for file in json.loads(body)["files"]]  # fmt: skip
            return self._answer({"files": files})
        if "/commit/" in path:
            return self._answer(self.hub.commit(name, [json.loads(line) for line in body.splitlines() if line]))
        return self._answer({"error": f"not spoken here: {path}"}, 501)

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{one['oid']}"}}}

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


@contextmanager
def stand_in_hub() -> Iterator[Hub]:
    """A running stand-in; its `url` goes into HF_ENDPOINT of another process."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
