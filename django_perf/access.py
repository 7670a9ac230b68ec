"""Decide which machine may read what machines ask for: who knows the token, or sits in a network that is named."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from .conf import get_settings


def may_read_metrics(request: HttpRequest) -> bool:
    """Tell whether a request has the token, or comes from a network of METRICS_NETWORKS."""
    return has_token(request) or _is_in_network(request)


def has_token(request: HttpRequest) -> bool:
    """Tell whether a request carries METRICS_TOKEN; how long that takes tells nothing about it."""
    try:
        token = get_settings().metrics_token
    except ImproperlyConfigured:
        return False
    scheme, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token is not None and scheme.lower() == "bearer" and constant_time_compare(given.strip(), token)


def _is_in_network(request: HttpRequest) -> bool:
    """Look at the peer of the connection alone: anybody can write an X-Forwarded-For."""
    try:
        networks = _parsed(tuple(get_settings().metrics_networks))
        peer = ip_address(request.META.get("REMOTE_ADDR", ""))
    except (ImproperlyConfigured, ValueError):  # of a Unix socket there is no address
        return False
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)


@lru_cache(maxsize=1)
def _parsed(networks: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(text) for text in networks]
