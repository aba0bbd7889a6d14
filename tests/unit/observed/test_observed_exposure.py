"""Listening sockets as /proc/net/tcp prints them, and routes as our probe prints them."""

from __future__ import annotations

import pytest

from rigspec.catalog.engines import ENGINES, engine
from rigspec.catalog.routes import Asking, RouteKind, routes_of
from rigspec.observed.exposure import (
    Listener,
    RouteAnswer,
    parse_container_image,
    parse_listeners,
    parse_routes,
    same_address,
)
from rigspec.observed.record import Unknown
from rigspec.verify.exposure import kind_of

ROWS = """\
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: 0B0200C0:1F90 0B0200C0:C001 01 00000000:00000000 00:00000000 00000000     0        0 4713 1
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0
   1: 00000000000000000000000001000000:1388 00000000000000000000000000000000:0000 0A 0:0 0:0 0
   2: 0000000000000000FFFF00000B0200C0:2328 00000000000000000000000000000000:0000 0A 0:0 0:0 0
""".splitlines()


def test_listeners_are_read_in_the_byte_order_of_the_kernel() -> None:
    assert parse_listeners({"listeners": ROWS}) == (
        Listener("0.0.0.0", 22),  # noqa: S104 - read, not bound
        Listener("::", 22),
        Listener("127.0.0.1", 5000),
        Listener("::1", 5000),
        Listener("192.0.2.11", 9000),
    )


@pytest.mark.parametrize("lines", [[], ["##RIG-ABSENT /proc/net/tcp"], ["nonsense"]])
def test_no_listener_at_all_is_unknown(lines: list[str]) -> None:
    assert isinstance(parse_listeners({"listeners": lines}), Unknown)


def test_addresses_are_compared_by_meaning() -> None:
    assert same_address("::1", "0:0:0:0:0:0:0:1")
    assert not same_address("127.0.0.1", "::1")
    assert same_address("localhost", "localhost")


def test_a_route_is_closed_absent_or_reachable_by_its_status() -> None:
    def reachable(status: int) -> bool:
        return RouteAnswer("/x", "POST", status).reachable

    assert not any(map(reachable, (401, 403, 404, 501, 0)))
    assert all(map(reachable, (200, 204, 400, 405, 415, 422, 500, 503)))


def test_routes_that_ran_out_of_time_prove_nothing() -> None:
    cut = ["route 401 GET /v1/models", "##RIG-EXIT 124 curl"]
    assert isinstance(parse_routes({"routes-x": cut}, "routes-x"), Unknown)
    assert isinstance(parse_routes({"routes-x": ["route 000 GET /health"]}, "routes-x"), Unknown)
    assert parse_routes({}, "routes-x") is None


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_routes_of_each_kind_and_none_twice(name: str) -> None:
    routes = routes_of(name)
    assert {route.kind for route in routes} == set(RouteKind)
    assert len({(route.method, route.path) for route in routes}) == len(routes)
    # what the catalog says answers without a key is tried
    assert set(engine(name).open_routes) - {"/health_generate"} <= {r.path for r in routes}
    # a request that could execute something is never sent whole
    for route in routes:
        if route.kind in {RouteKind.RUNS, RouteKind.CHANGES}:
            assert route.asking is not Asking.GET


def test_a_listed_route_that_nobody_knows_may_do_anything_by_post() -> None:
    assert kind_of("vllm", RouteAnswer("/x", "POST", 405, listed=True)) is RouteKind.RUNS
    assert kind_of("vllm", RouteAnswer("/x", "GET", 405, listed=True)) is RouteKind.TELLS
    assert kind_of("vllm", RouteAnswer("/health", "GET", 405, listed=True)) is RouteKind.HARMLESS
    # one path, two methods: POST /props changes llama.cpp, GET only tells
    assert kind_of("llama_cpp", RouteAnswer("/props", "POST", 400)) is RouteKind.CHANGES
    assert kind_of("llama_cpp", RouteAnswer("/props", "GET", 200)) is RouteKind.TELLS


@pytest.mark.parametrize("prefix", ["sha256:", ""], ids=["docker", "podman"])
def test_image_ids_are_compared_without_their_algorithm(prefix: str) -> None:
    lines = [f"running {prefix}{'a' * 64}", f"planned {prefix}{'b' * 64}"]
    found = parse_container_image({"image-x": lines}, "image-x")
    assert (found.running, found.planned) == ("a" * 64, "b" * 64)


def test_a_container_that_is_gone_has_no_image() -> None:
    lines = ["Error: No such container: rigspec-glm", "##RIG-EXIT 1 docker"]
    found = parse_container_image({"image-x": lines}, "image-x")
    assert isinstance(found.running, Unknown)
    assert "No such container" in found.running.line
