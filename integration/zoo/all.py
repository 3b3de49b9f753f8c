"""All programs of the zoo."""

from integration.zoo import (
    apache,
    caddy,
    etcd,
    gunicorn,
    haproxy,
    mariadb,
    memcached,
    mosquitto,
    nginx,
    nodejs,
    openjdk,
    postgresql,
    rabbitmq,
    redis,
    sshd,
    supervisord,
)

QUICK = (redis, nginx, haproxy, supervisord, gunicorn, etcd)
SLOW = (postgresql, openjdk, rabbitmq, mariadb, nodejs, memcached, mosquitto, caddy, apache, sshd)
PROGRAMS = tuple(module.PROGRAM for module in QUICK + SLOW)


def packages(*, slow: bool) -> list[str]:
    """Of the quick programs, or of those that take long."""
    return sorted({package for one in PROGRAMS if one.slow is slow for package in one.packages})
