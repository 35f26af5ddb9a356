"""The JSON Lines files of the batch protocol, by themselves and with real vLLM."""

import json
import subprocess
import sys

import jsonschema_rs
import pytest
from conftest import STRUCTURED

from tagevol_hf.engines.base import Message, Reply, Request, Sampling
from tagevol_hf.engines.batch.file import line_of, read_batch_file, read_line, with_format, write_batch_file
from tagevol_hf.engines.chat_protocol import Fault
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine

KEY = "ab" * 32
SCHEMA = {
    "type": "object",
    "properties": {
        "tag": {"type": "string", "maxLength": 20},
        "score": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["tag", "score"],
    "additionalProperties": False,
}


def question(text, schema=None, **sampling):
    return Request((Message("user", text),), Sampling(**sampling), schema)


def answer(text, **entry):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "x", "custom_id": KEY, "response": response, "error": None, **entry}


def packed(entry):
    return json.dumps(entry).encode()


def test_each_request_is_written_once_under_its_key(tmp_path, caplog):
    asked = [question("a"), question("b", SCHEMA, seed=1, temperature=0.5), question("a"), question("half \ud83d")]
    asked.append(question("two\u2028lines\x85 数学 \x00"))
    assert write_batch_file(tmp_path / "in.jsonl", iter(asked), "served", "model@1") == 3
    content = (tmp_path / "in.jsonl").read_bytes().decode()
    lines = [json.loads(line) for line in content.splitlines()]  # no line end inside a line, for any reader
    assert [line["custom_id"] for line in lines] == [asked[n].key("model@1") for n in (0, 1, 4)]
    assert [line["body"]["messages"][0]["content"] for line in lines] == ["a", "b", "two\u2028lines\x85 数学 \x00"]
    assert lines[1]["body"]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert {(line["method"], line["url"], line["body"]["model"]) for line in lines} == {
        ("POST", "/v1/chat/completions", "served")
    }
    assert "1 requests are left out: their text is not valid Unicode" in caplog.text


def test_answers_are_read_with_their_tokens(tmp_path, caplog):
    other = "cd" * 32
    error = {"status_code": 400, "body": {"error": {"message": "bad role"}}}
    lines = [
        packed(answer("good 🙂")),
        b"",
        b'{"custom_id": "',
        packed(answer("x", custom_id="request-1")),
        b"\xff\xfe",
    ]
    lines.append(packed(answer("", custom_id=other, response=error)))
    (tmp_path / "out.jsonl").write_bytes(b"\n".join(lines))
    assert list(read_batch_file(tmp_path / "out.jsonl")) == [
        (KEY, Reply("good 🙂", "stop", 5, 7, 0)),
        (other, Reply("", "error", reason="refused_request", detail="HTTP 400: bad role")),
    ]
    assert "3 lines are not answers" in caplog.text


@pytest.mark.parametrize(
    ("entry", "kind", "detail"),
    [
        (answer("", response=None, error={"code": "batch_expired", "message": "late"}), "timeout", "late"),
        (answer("", response=None, error={"code": "odd", "message": "why"}), "retry", "odd why"),
        (answer("", response=None), "retry", "no answer and no error"),
        (answer("", response={"status_code": 200, "body": None}), "retry", "not a chat completion"),
        (answer("", response={"status_code": 429, "body": {"error": {"message": "slow"}}}), "busy", "HTTP 429: slow"),
        # vLLM: no body, the error beside the response
        (
            answer("", response={"status_code": 500, "body": None}, error={"error": {"message": "oops"}}),
            "retry",
            "oops",
        ),
    ],
)
def test_lines_without_a_reply(entry, kind, detail):
    key, fault = read_line(packed(entry))
    assert key == KEY
    assert isinstance(fault, Fault)
    assert fault.kind == kind
    assert detail in fault.detail


@pytest.mark.parametrize(
    "line", [b"[]", b"3", b"null", b'"x"', b"{}", b'{"custom_id": null}', b'{"custom_id": 7}', b"[" * 9999]
)
def test_lines_that_are_no_answers(line):
    assert read_line(line) is None


def test_a_weaker_response_format_is_that_of_a_new_line():
    request = question('a "response_format": \\', SCHEMA, temperature=0.3)
    strong = line_of(request, KEY, "m", "json_schema")
    for weaker in ("json_object", "none"):
        assert with_format(strong, weaker) == line_of(request, KEY, "m", weaker)
    assert with_format(strong, "json_schema") == strong
    plain = line_of(question("b"), KEY, "m", "json_schema")
    assert with_format(plain, "none") == plain


class Silent:
    """An engine that must not be asked."""

    identity = "tiny-llama"

    def stream(self, requests):
        for request in requests:
            raise AssertionError(f"asked: {request}")
        yield from ()

    def close(self):
        pass


@pytest.mark.slow
def test_vllm_answers_the_file_and_its_answers_fill_a_store(tiny_llama, tmp_path):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    asked = [question(f"Name a tag, number {n}", SCHEMA, max_tokens=64, temperature=1.0, seed=n) for n in range(8)]
    asked += [question("Say something. 数学 \u2028 end", max_tokens=8), question("word " * 9000, max_tokens=8)]
    inputs, outputs = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    assert write_batch_file(inputs, asked, "tiny-llama", "tiny-llama") == 10
    command = [sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.run_batch"]
    command += ["-i", str(inputs), "-o", str(outputs), "--model", str(tiny_llama), "--served-model-name", "tiny-llama"]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "4096", "--no-enable-chunked-prefill"]
    command += ["--structured-outputs-config", json.dumps(STRUCTURED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    replies = dict(read_batch_file(outputs))
    assert set(replies) == {request.key("tiny-llama") for request in asked}
    in_order = [replies[request.key("tiny-llama")] for request in asked]
    check = jsonschema_rs.validator_for(SCHEMA)
    finished = [reply for reply in in_order[:8] if reply.finish_reason == "stop"]
    assert finished
    for reply in finished:
        check.validate(json.loads(reply.text))
    assert all(reply.prompt_tokens > 0 and reply.completion_tokens > 0 for reply in in_order[:9])
    assert in_order[8].finish_reason in ("stop", "length")
    assert in_order[9].reason == "prompt_too_long"
    store = RequestStore(tmp_path / "store.sqlite")
    for key, reply in replies.items():
        if reply.finish_reason != "error":
            store.put(key, reply)
    assert dict(StoredEngine(Silent(), store).stream(asked[:9])) == dict(enumerate(in_order[:9]))
