import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from scripted import ScriptedEngine

from tagevol_hf.engines.base import Message, Reply, Request, Sampling, failed
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine
from tagevol_hf.errors import EngineError


def ask(text, draw=0, **sampling):
    return Request((Message("user", text),), Sampling(**sampling), None, draw)


def test_a_reply_comes_back_as_it_was(tmp_path):
    store = RequestStore(tmp_path / "new" / "store.sqlite")
    reply = Reply("naïve 数学 \x00 \ud800 text", "length", 3, 4, 2)
    store.put("ab" * 32, reply)
    assert RequestStore(tmp_path / "new" / "store.sqlite").get("ab" * 32) == reply
    assert store.get("cd" * 32) is None
    assert len(store) == 1


def test_the_key_holds_everything_that_changes_an_answer_and_nothing_else():
    base = ask("x").key("model")
    others = [
        ask("y").key("model"),
        ask("x").key("other"),
        ask("x", draw=1).key("model"),
        ask("x", temperature=0.5).key("model"),
        ask("x", max_tokens=7).key("model"),
        ask("x", seed=1).key("model"),
        Request((Message("user", "x"),), schema={"type": "object"}).key("model"),
        Request((Message("system", "x"),)).key("model"),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert ask("x").key("model") == base


def test_the_second_time_nothing_is_asked(tmp_path):
    requests = [ask(f"question {number}") for number in range(50)]
    first = ScriptedEngine(lambda request: request.messages[0].content.upper())
    answers = dict(StoredEngine(first, RequestStore(tmp_path / "s")).stream(requests))
    second = ScriptedEngine(lambda request: "something else")
    engine = StoredEngine(second, RequestStore(tmp_path / "s"))
    assert dict(engine.stream(requests)) == answers
    assert answers[7].text == "QUESTION 7"
    assert (second.asked, engine.usage.stored, engine.usage.asked) == (0, 50, 0)


def test_equal_requests_are_asked_once_and_draws_apart():
    engine = StoredEngine(
        ScriptedEngine(lambda request: f"{request.messages[0].content}/{request.draw}"),
        RequestStore.temporary(),
    )
    requests = [ask("a"), ask("b"), ask("a"), ask("a", draw=1), ask("a", draw=2), ask("a", draw=3)]
    answers = dict(engine.stream(requests))
    assert [answers[place].text for place in range(6)] == ["a/0", "b/0", "a/0", "a/1", "a/2", "a/3"]
    assert engine.usage.asked + engine.usage.stored + engine.usage.shared == 6
    assert engine.usage.asked == 5


def test_stored_and_new_requests_mixed_all_come_back_once():
    inner = ScriptedEngine(lambda request: request.messages[0].content)
    engine = StoredEngine(inner, RequestStore.temporary())
    list(engine.stream([ask(str(number)) for number in range(0, 300, 3)]))
    answers = list(engine.stream(ask(str(number)) for number in range(300)))
    assert sorted(position for position, _ in answers) == list(range(300))
    assert all(reply.text == str(position) for position, reply in answers)


def test_many_stored_replies_between_new_ones_are_not_held_back(monkeypatch):
    monkeypatch.setattr("tagevol_hf.engines.stored._Source._MOST_READY", 5)
    engine = StoredEngine(ScriptedEngine(lambda request: request.messages[0].content), RequestStore.temporary())
    list(engine.stream([ask(str(number)) for number in range(1, 99)]))
    answers = list(engine.stream(ask(str(number)) for number in range(100)))
    assert sorted(position for position, _ in answers) == list(range(100))


def test_errors_are_not_stored_and_are_asked_again():
    replies = iter([failed("timeout", "after 1 s"), Reply("now")])
    engine = StoredEngine(ScriptedEngine(lambda request: next(replies)), RequestStore.temporary())
    assert next(engine.stream([ask("x")]))[1].reason == "timeout"
    assert next(engine.stream([ask("x")]))[1].text == "now"
    assert engine.usage.failed == {"timeout": 1}


def test_a_reply_is_durable_before_it_is_seen(tmp_path):
    """The process is killed as soon as it sees a reply; the reply is in the file."""
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r})
        from scripted import ScriptedEngine
        from tagevol_hf.engines.base import Message, Request
        from tagevol_hf.engines.store import RequestStore
        from tagevol_hf.engines.stored import StoredEngine
        engine = StoredEngine(ScriptedEngine(lambda r: r.messages[0].content), RequestStore({str(tmp_path / "s")!r}))
        for count, _ in enumerate(engine.stream(Request((Message("user", str(n)),)) for n in range(100)), 1):
            if count == 17:
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(RequestStore(tmp_path / "s")) >= 17


def _fill(path, start):
    store = RequestStore(path)
    for number in range(start, start + 200):
        store.put(f"{number:064x}", Reply(str(number)))


def test_two_processes_write_at_once(tmp_path):
    path = tmp_path / "s"
    RequestStore(path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_fill, args=(path, start)) for start in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = RequestStore(path)
    assert len(store) == 300
    assert store.get(f"{150:064x}").text == "150"


def test_a_damaged_store_says_what_to_do(tmp_path):
    path = tmp_path / "s"
    path.write_bytes(b"this is not a database, it only looks large enough to be one " * 40)
    with pytest.raises(EngineError, match="file is not a database; move the file away to start a new one"):
        RequestStore(path)


def test_a_store_that_was_cut_says_what_to_do(tmp_path):
    path = tmp_path / "s"
    store = RequestStore(path)
    for number in range(400):
        store.put(f"{number:064x}", Reply(os.urandom(300).hex()))
    store.close()
    path.write_bytes(path.read_bytes()[:9000])

    def read_all():
        cut = RequestStore(path)
        return [cut.get(f"{number:064x}") for number in range(400)]

    with pytest.raises(EngineError, match="malformed; move the file away"):
        read_all()


def test_a_store_of_another_version_says_so(tmp_path):
    path = tmp_path / "s"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EngineError, match=r"another version of tagevol_hf \(format 99, expected 2\)"):
        RequestStore(path)


def test_a_store_whose_folder_is_a_file_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(EngineError, match=r"store .*file/s: "):
        RequestStore(tmp_path / "file" / "s")


def test_a_store_can_be_used_from_another_thread_and_after_close(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    store = RequestStore(tmp_path / "s")
    store.put("00" * 32, Reply("x"))
    with ThreadPoolExecutor(2) as pool:
        assert [reply.text for reply in pool.map(store.get, ["00" * 32] * 4)] == ["x"] * 4
    store.close()
    assert store.get("00" * 32).text == "x"
