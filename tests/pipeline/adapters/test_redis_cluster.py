from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest

from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_cluster import parse_cluster_address
from pipeline.contracts import StreamName
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.interfaces import Bus
from tests.fakes import event
from tests.redis_cluster import MASTERS, RedisCluster

EVENTS = StreamName.IDENTITIES
SECRET = "s3cret-pa55"


def numbers(bus: Bus) -> list[int]:
    found = []
    while deliveries := bus.consume(EVENTS, "reader", "one", 50, 0.0):
        found += [delivery.message.event_id for delivery in deliveries]  # type: ignore[union-attr]
    return found


def test_an_address_names_some_nodes_and_what_is_demanded_of_all() -> None:
    address = parse_cluster_address(f"rediss+cluster://lena:{SECRET}@one:7001,two/?replicas=2&ssl_cert_reqs=none")
    assert address.nodes == (("one", 7001), ("two", 6379))
    assert (address.replicas, address.shown) == (2, "rediss+cluster://one:7001,two:6379")
    assert {name: address.options[name] for name in ("username", "password", "ssl_cert_reqs")} == {
        "username": "lena",
        "password": SECRET,
        "ssl_cert_reqs": "none",
    }
    assert parse_cluster_address("redis+cluster://one").replicas is None


@pytest.mark.parametrize(
    "url",
    [
        f"redis+cluster://lena:{SECRET}@",
        f"redis+cluster://lena:{SECRET}@one:port",
        f"redis+cluster://lena:{SECRET}@one,,two",
        f"redis+cluster://lena:{SECRET}@one/3",
        f"redis+cluster://lena:{SECRET}@one/?replicas=some",
        f"redis+cluster://lena:{SECRET}@one/?replicas=-1",
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\+cluster://host:6379,host:6379") as caught:
        RedisBus(url, "here")
    assert SECRET not in "".join(map(str, (caught.value, caught.value.__cause__, caught.value.args)))


def test_while_no_node_answers_the_bus_says_so_without_its_password() -> None:
    with closing(RedisBus(f"redis+cluster://lena:{SECRET}@127.0.0.1:1,127.0.0.1:2", "here")) as bus:
        with pytest.raises(Unavailable, match=r"redis\+cluster://127.0.0.1:1,127.0.0.1:2 does not answer") as caught:
            bus.ping()
        assert SECRET not in f"{caught.value} {bus!r} {caught.value.__cause__}"


def test_sites_live_on_all_nodes_and_each_on_one(redis_cluster: RedisCluster) -> None:
    sites = [f"spread-{number}" for number in range(24)]
    for site in sites:
        with closing(RedisBus(redis_cluster.url, site)) as bus:
            bus.publish(EVENTS, [event(1), event(2)])
            assert numbers(bus) == [1, 2]
    homes = [redis_cluster.master_of(site) for site in sites]
    assert len({home.port for home in homes}) == MASTERS
    for site, home in zip(sites, homes, strict=True):
        assert home.client.exists(f"sightline:{{{site}}}:identities")


def test_a_message_that_its_replica_does_not_have_was_not_sent(redis_cluster: RedisCluster) -> None:
    replica = redis_cluster.replica_of("here")
    with closing(RedisBus(redis_cluster.url, "here")) as bus:
        bus.publish(EVENTS, [event(1)])
        assert replica.process is not None
        os.kill(replica.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="0 of 1 replicas have it"):
                bus.publish(EVENTS, [event(2)])
        finally:
            os.kill(replica.process.pid, signal.SIGCONT)
        redis_cluster.wait_until_whole()
        bus.publish(EVENTS, [event(2)])
        assert numbers(bus) == [1, 2, 2]


@pytest.mark.parametrize(("demanded", "is_enough"), [(0, True), (1, True), (2, False)])
def test_as_many_replicas_as_the_address_demands_must_have_a_message(
    redis_cluster: RedisCluster, demanded: int, is_enough: bool
) -> None:
    with closing(RedisBus(f"{redis_cluster.url}/?replicas={demanded}", f"demand-{demanded}")) as bus:
        if is_enough:
            bus.publish(EVENTS, [event(1)])
        else:
            with pytest.raises(Unavailable, match="1 of 2 replicas"):
                bus.publish(EVENTS, [event(1)])
