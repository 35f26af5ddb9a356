"""Engines on a Ray cluster: the same rows and counts as on this machine, and nothing lost when an actor dies.

The cluster is Ray's own test cluster of two nodes, on the loopback.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from datasets import Dataset
from stand_in_server import free_port

import tagevol_hf as te
from tagevol_hf.engines import ray_cluster
from tagevol_hf.errors import EngineError
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")]

STEPS = [
    {"aspect_tags": {}},
    {"tag_pool": {}},
    {"tag_evol": {"budgets": [1, 3]}},
    {"respond": {}},
    {"open_tags": {}},
    {"normalize_tags": {}},
    {"cluster": {"k": 3}},
    {"compare": {"comparisons": 1}},
    {"select": {"n": 12}},
]
VERBS = ["Explain", "Sort", "Plan", "Draw", "Count", "Name"]
THINGS = ["tides of the sea", "a list of birds", "a trip to Rome", "the heart of a frog"]
COUNTED = ("read", "added", "selected", "not_chosen", "rejected", "asked", "stored", "prompt_tokens")


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with two CPUs each, and a door for Ray's client: the cluster, and the door's port."""
    ray_cluster.library()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": 100 * 1024**2}
    head = {**node, "include_dashboard": False, "ray_client_server_port": free_port()}
    with ray_cluster.loopback_only():
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**node)
            cluster.wait_for_nodes(timeout=60)
            yield cluster, head["ray_client_server_port"]
        finally:
            ray().shutdown()
            cluster.shutdown()


@pytest.fixture
def cluster(nodes):
    """Where it is, as `--on` takes it."""
    return f"ray:{nodes[0].address}"


@pytest.fixture
def seeds(tmp_path):
    """24 tasks."""
    path = tmp_path / "seeds.jsonl"
    Dataset.from_dict({"instruction": [f"{verb} {thing}." for verb in VERBS for thing in THINGS]}).to_json(path)
    return path


def ray():
    """Ray itself, imported only where a test runs."""
    return ray_cluster.library()


def both(seeds, spec, on, tmp_path, steps=STEPS):
    """The same recipe on this machine and on the cluster; each with its own store."""
    body = recipe_of(seeds, spec, steps)
    return curate(recipe_from(body), tmp_path / "here"), curate(recipe_from(body), tmp_path / "there", on=on)


def check_equal(here, there):
    for name in ("selected", "rejected", "not_chosen"):
        assert getattr(here, name).to_list() == getattr(there, name).to_list(), name
    totals = here.record["totals"], there.record["totals"]
    for name in COUNTED:
        assert totals[0][name] == totals[1][name], name
    assert keys(here.path) == keys(there.path)
    assert there.record["digest"] == here.record["digest"]


def keys(run):
    with closing(sqlite3.connect(run / "store.sqlite")) as store:
        return sorted(store.execute("select key from replies").fetchall())


def served(run):
    return run.record["engines"]["default"]["served"]


def children(word):
    """Processes below this one whose name has a word in it."""
    import psutil

    found = psutil.Process().children(recursive=True)
    return [process.pid for process in found if word in " ".join(_command(process))]


def _command(process):
    import psutil

    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_the_builtin_engine_gives_the_same_run(cluster, seeds, tmp_path):
    on = f"{cluster}?actors=2&cpus=2"  # one on each node
    here, there = both(seeds, "builtin", on, tmp_path)
    check_equal(here, there)
    assert len(there.selected) == 12
    assert there.record["on"] == on
    assert "on" not in here.record
    assert len(served(there)) == 2
    assert sum(served(there).values()) == there.record["totals"]["asked"]
    assert children("ray::EngineActor") == []


def test_a_server_gives_the_same_run_and_the_key_stays_secret(cluster, nodes, seeds, tmp_path, stand_in, monkeypatch):
    monkeypatch.setenv("TAGEVOL_API_KEY", "sk-not-for-any-log-1234")
    server = stand_in(latency=0.01)
    here, there = both(seeds, server.spec, f"{cluster}?actors=2", tmp_path)
    check_equal(here, there)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-not-for-any-log-1234"}
    session = Path(nodes[0].head_node.get_session_dir_path())
    for folder in (there.path, session):
        files = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size < 50_000_000]
        assert files
        assert [file for file in files if b"sk-not-for-any-log" in file.read_bytes()] == []
    asked = len(server.bodies)
    again = curate(recipe_from(recipe_of(seeds, server.spec)), tmp_path / "here", on=cluster)
    assert again.record["totals"]["asked"] == 0, "the store of a run without Ray answers with it"
    assert len(server.bodies) == asked


def recipe_of(seeds, spec, steps=STEPS):
    return {"name": "both", "data": {"source": str(seeds)}, "engines": {"default": spec}, "steps": steps}


def many(count):
    return te.prepare(Dataset.from_dict({"instruction": [f"Explain fact {n} of nature." for n in range(count)]}))


def asked_of(server):
    return {json.dumps([body["messages"], body.get("seed")]) for body in server.bodies}


@pytest.mark.parametrize("killed", [1, 2])
def test_a_killed_actor_loses_nothing_and_doubles_nothing(cluster, tmp_path, stand_in, killed):
    moment = threading.Event()
    server = stand_in(lambda number, body: moment.set() if number == 150 else None, latency=0.2)
    rows = many(600)
    stage = te.AspectTagger(te.open_engine(server.spec, store=tmp_path / "here.sqlite"))
    expected = stage.apply(rows).to_list()
    stage.engine.close()
    alone, server.bodies = asked_of(server), []
    moment.clear()
    on = f"{cluster}?actors=2&cpus=1&in_flight=64"
    engine = te.open_engine(server.spec, store=tmp_path / "there.sqlite", on=on)
    assert engine.identity
    victims = engine.engine.pids[:killed]

    def kill():
        moment.wait(30)
        time.sleep(0.1)  # so that the victims have something in flight
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        assert te.AspectTagger(engine).apply(rows).to_list() == expected
        assert not set(victims) & set(engine.engine.pids)
        assert engine.usage.asked == len(rows)
        assert sum(engine.served.values()) == len(rows)
        assert asked_of(server) == alone
        assert len(rows) < len(server.bodies) <= len(rows) + killed * 64, "only what the dead had is asked again"
        with closing(sqlite3.connect(tmp_path / "there.sqlite")) as store:
            assert store.execute("select count(*), count(distinct key) from replies").fetchone() == (600, 600)
    finally:
        killer.join(5)
        engine.close()


def test_a_lost_node_loses_nothing(cluster, nodes, stand_in):
    moment = threading.Event()
    server = stand_in(lambda number, body: moment.set() if number == 150 else None, latency=0.2)
    third = nodes[0].add_node(num_cpus=2, object_store_memory=100 * 1024**2)
    nodes[0].wait_for_nodes(timeout=60)
    engine = te.open_engine(server.spec, on=f"{cluster}?actors=3&cpus=2&in_flight=64")
    assert len(engine.engine.pids) == 0
    assert engine.identity

    def lose():
        moment.wait(30)
        nodes[0].remove_node(third, allow_graceful=False)

    loser = threading.Thread(target=lose, daemon=True)
    loser.start()
    try:
        tagged = te.AspectTagger(engine).apply(many(600))
        loser.join(30)
        assert [row["rejection"] for row in tagged] == [None] * 600
        assert engine.usage.asked == len(asked_of(server)) == 600
    finally:
        engine.close()


def test_rays_client_gives_the_same_rows(nodes):
    pytest.importorskip("grpc", reason="Ray's client needs grpcio")
    ray().shutdown()
    engine = te.open_engine("builtin", on=f"ray://127.0.0.1:{nodes[1]}?actors=2&cpus=2")
    try:
        tagged = te.AspectTagger(engine).apply(many(40)).to_list()
    finally:
        engine.close()
    assert tagged == te.AspectTagger(te.open_engine("builtin")).apply(many(40)).to_list()
    assert not ray().is_initialized()


def test_actors_that_die_again_and_again_end_in_clear_words(cluster, stand_in):
    server = stand_in(lambda number, body: "hang")
    engine = te.open_engine(server.spec, on=f"{cluster}?actors=1")
    assert engine.identity
    over = threading.Event()

    def kill():
        done = set()
        while not over.wait(0.3):
            for pid in set(engine.engine.pids) - done if server.running else ():
                os.kill(pid, signal.SIGKILL)
                done.add(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        with pytest.raises(EngineError, match="3 actors died of the same requests"):
            te.AspectTagger(engine).apply(many(4))
    finally:
        over.set()
        killer.join(5)
        engine.close()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("vllm:/no/such/model", "there is no such folder"),
        ("http://127.0.0.1:{port}/v1#model", "cannot reach the server"),
        ("http://127.0.0.1:{port}/v1", "cannot reach the server"),
    ],
)
def test_an_engine_that_cannot_work_is_told_in_seconds(cluster, spec, told):
    start = time.monotonic()
    engine = te.open_engine(spec.format(port=free_port()), on=f"{cluster}?cpus=1")
    with pytest.raises(EngineError, match=f"on the Ray node 127.0.0.1: .*{told}"):
        te.AspectTagger(engine).apply(many(2))
    engine.close()
    assert time.monotonic() - start < 30


def test_more_than_the_cluster_has_is_told_at_once(cluster):
    with pytest.raises(EngineError, match=r"an actor needs 0 GPUs and 3 CPUs of one node; .* 0 GPUs, 2 CPUs; 0 GPUs"):
        te.open_engine("builtin", on=f"{cluster}?cpus=3").engine.identity  # noqa: B018
    with pytest.raises(EngineError, match="none was free for 2 s"):
        te.open_engine("builtin", on=f"{cluster}?gpus=1&wait=2").engine.identity  # noqa: B018


@pytest.mark.parametrize("form", ["ray:127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_an_address_without_a_cluster_is_told_at_once(form, monkeypatch):
    ray().shutdown()
    start = time.monotonic()
    port = free_port()
    with pytest.raises(EngineError, match=f"no cluster at (ray://)?127.0.0.1:{port} .*refused"):
        te.open_engine("builtin", on=form.format(port=port)).engine.identity  # noqa: B018
    assert time.monotonic() - start < 5


def test_no_cluster_to_join(monkeypatch, tmp_path):
    ray().shutdown()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(EngineError, match=r"no cluster at ray:auto .*ray start --head"):
        te.open_engine("builtin", on="ray:auto").engine.identity  # noqa: B018


OWN = """
import signal
import psutil, ray
import tagevol_hf as te
from datasets import Dataset

def raylets():
    return [child.pid for child in psutil.Process().children(recursive=True) if "raylet" in child.name()]

rows = te.prepare(Dataset.from_dict({"instruction": [f"Explain fact {n} of nature." for n in range(40)]}))
before = signal.getsignal(signal.SIGTERM)
engine = te.open_engine("builtin", on="ray?actors=1")
tagged = te.AspectTagger(engine).apply(rows).to_list()
assert tagged == te.AspectTagger(te.open_engine("builtin")).apply(rows).to_list()
assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1", ray.nodes()
assert signal.getsignal(signal.SIGTERM) == before
assert raylets()
engine.close()
engine.close()
assert not ray.is_initialized() and not raylets()
print("same")
"""


def test_a_ray_of_ones_own_starts_and_ends():
    """In a process of its own: Ray's core does not change from one cluster to another and back."""
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")  # pytest's is too long for a socket's name
    environment = {**os.environ, "RAY_TMPDIR": temporary}
    environment.pop("RAY_ADDRESS", None)
    try:
        done = subprocess.run([sys.executable, "-c", OWN], env=environment, capture_output=True, text=True, timeout=120)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "same"


TINY = "vllm:{model}?max_model_len=4096&max_num_seqs=16&enforce_eager=true&dtype=float32"


def test_real_vllm_gives_the_same_rows(cluster, seeds, tmp_path, tiny_llama, monkeypatch):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    steps = [
        {"aspect_tags": {"max_aspects": 2, "max_tags": 2}},
        {"tag_pool": {}},
        {"tag_evol": {"budgets": [1], "candidates": 6, "max_chars": 60}},
    ]
    spec = TINY.format(model=tiny_llama)
    here, there = both(seeds, spec, f"{cluster}?actors=2&cpus=2", tmp_path, steps)
    check_equal(here, there)
    assert len(served(there)) == 2


@pytest.fixture
def data_context(cluster, nodes):
    """Ray Data on the cluster, quiet."""
    ray().shutdown()
    with ray_cluster.loopback_only():
        ray().init(address=nodes[0].address, log_to_driver=False, logging_level="error")
    context = ray().data.DataContext.get_current()
    context.enable_progress_bars = False
    yield
    ray().shutdown()


def by_id(table_rows):
    return sorted(table_rows, key=lambda row: row["id"])


@pytest.mark.parametrize("actors", [0, 2])
def test_ray_data_maps_a_stage_as_it_is(data_context, tmp_path, actors):
    rows = te.prepare(Dataset.from_dict({"instruction": [f"Explain fact {n}." for n in range(40)] + ["", " "]}))
    stage = te.AspectTagger(te.open_engine("builtin", store=tmp_path / "store.sqlite"))
    expected = stage.apply(rows)
    assert any(row["rejection"] for row in expected)
    data = ray().data.from_huggingface(rows)
    options = {"batch_format": "pyarrow", "batch_size": 10}
    if actors:
        options |= {"compute": ray().data.ActorPoolStrategy(size=actors), "fn_constructor_args": (stage.engine,)}
    mapped = data.repartition(4).map_batches(te.AspectTagger if actors else stage, **options)
    tables = [table for table in ray().get(mapped.to_arrow_refs()) if table.num_rows]
    assert all(table.schema.equals(expected.features.arrow_schema, check_metadata=False) for table in tables)
    found = Dataset.from_list([row for table in tables for row in table.to_pylist()], features=expected.features)
    assert by_id(found.to_list()) == by_id(expected.to_list())


@pytest.mark.parametrize("kind", ["numpy", "pandas"])
def test_ray_data_with_another_kind_of_batch_is_told(data_context, kind):
    stage = te.AspectTagger(te.open_engine("builtin"))
    with pytest.raises(Exception, match=r'expected lists or an Arrow table, .*batch_format="pyarrow"'):
        ray().data.from_huggingface(many(3)).map_batches(stage, batch_format=kind).take_all()
