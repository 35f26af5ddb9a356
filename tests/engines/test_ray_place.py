"""What stands behind `--on`: read and refused without Ray."""

import socket
import sys
from types import SimpleNamespace

import pytest

import tagevol_hf as te
from tagevol_hf.engines import ray_cluster
from tagevol_hf.engines.ray_place import Place, environment, share_of
from tagevol_hf.errors import EngineError, MissingExtraError


@pytest.mark.parametrize(
    ("on", "told"),
    [
        ("spark", "expected ray "),
        ("ray:6379", "expected ray "),
        ("ray?actor=2", 'did you mean "actors"'),
        ("ray?actors=0", "above 0"),
        ("ray?gpus=some", "positive float"),
    ],
)
def test_a_wrong_place_is_told_before_anything_is_opened(on, told):
    with pytest.raises(EngineError, match=told):
        te.open_engine("builtin", on=on)


GPUS = {"GPU": 4.0, "CPU": 32.0}


@pytest.mark.parametrize(
    ("on", "spec", "nodes", "actors", "gpus", "cpus", "in_flight"),
    [
        ("ray", "vllm:m", [GPUS, GPUS], 8, 1, 1, 512),
        ("ray", "vllm:m?tensor_parallel_size=2", [GPUS, GPUS], 4, 2, 1, 512),
        ("ray?gpus=0.5", "transformers:m", [GPUS], 8, 0.5, 1, 512),
        ("ray", "vllm:m", [{"CPU": 4.0}, {"CPU": 8.0}], 1, 0, 8, 512),
        ("ray", "http://a/v1,http://b/v1#m", [GPUS], 1, 0, 1, 1024),
        ("ray?in_flight=9&actors=3", "http://a/v1", [GPUS], 3, 0, 1, 9),
        ("ray", "builtin", [{"CPU": 8.0}], 4, 0, 1, 512),
        ("ray", "builtin", [{"CPU": 1.0}], 1, 0, 1, 512),
    ],
)
def test_what_an_actor_gets(on, spec, nodes, actors, gpus, cpus, in_flight):
    share = share_of(Place.read(on), spec, nodes)
    assert (share.actors, share.gpus, share.cpus, share.in_flight) == (actors, gpus, cpus, in_flight)


@pytest.mark.parametrize(
    ("on", "address"),
    [
        ("ray", ""),
        ("ray:auto", "auto"),
        ("ray:10.0.0.1:6379", "10.0.0.1:6379"),
        ("ray://head.local:10001?actors=2", "ray://head.local:10001"),
    ],
)
def test_where_it_is(on, address):
    assert Place.read(on).address == address


def test_a_cluster_that_is_too_small_is_told_unless_it_may_grow():
    with pytest.raises(EngineError, match=r"needs 1 GPUs and 1 CPUs of one node; .* 0 GPUs, 8 CPUs; .*wait=600"):
        share_of(Place.read("ray?gpus=1"), "vllm:m", [{"CPU": 8.0}])
    assert share_of(Place.read("ray?gpus=1&wait=600"), "vllm:m", [{"CPU": 8.0}]).actors == 1


def test_a_batch_api_is_refused():
    with pytest.raises(EngineError, match=r"batch API .*leave out --on"):
        te.open_engine("batch:https://host/v1#m", on="ray").engine  # noqa: B018


def test_a_missing_ray_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tagevol_hf\[ray\]"):
        te.open_engine("builtin", on="ray").identity  # noqa: B018


def test_actors_get_what_engines_read_and_nothing_else(monkeypatch):
    for name in ("TAGEVOL_API_KEY", "HF_TOKEN", "MY_TAGEVOL_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert {"TAGEVOL_API_KEY", "HF_TOKEN"} <= set(environment())
    assert not {"MY_TAGEVOL_KEY", "AWS_SECRET_ACCESS_KEY"} & set(environment())


class DyingHead(SimpleNamespace):
    """Stands for `ray` where the head's server for a client dies so many times before it lives."""

    def __init__(self, deaths):
        super().__init__(deaths=deaths, asked=0, shutdowns=0)
        self.util = SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")

    def is_initialized(self):
        return False

    def init(self, **options):
        self.asked += 1
        if self.asked <= self.deaths:
            raise ConnectionAbortedError("Initialization failure from server: Starting Ray client server failed.")

    def shutdown(self):
        self.shutdowns += 1


@pytest.mark.parametrize("deaths", [0, 1, 2, 3])
def test_a_client_whose_server_dies_on_the_head_is_tried_three_times(monkeypatch, deaths):
    ray = DyingHead(deaths)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"ray://127.0.0.1:{head.getsockname()[1]}"
        if deaths < 3:
            ray_cluster.join(address, user := object())
            assert (ray.asked, ray.shutdowns) == (deaths + 1, deaths)
            ray_cluster.leave(user)
        else:
            with pytest.raises(EngineError, match=f"the cluster at {address} cannot be used: Initialization failure"):
                ray_cluster.join(address, object())
            assert (ray.asked, ray.shutdowns) == (3, 3)
