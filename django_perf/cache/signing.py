"""Derive the keys that seal a site's cached values from its SECRET_KEY, and sign what has no key of its own."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from django_redis.serializers.base import BaseSerializer

from .sealing import Sealer, format_named

_SALT = "django_perf.cache.v1"
_NO_KEY = b"django_redis"


def sealer(serializer: str, prefix: str = "") -> Sealer:
    """Return a sealer for one cache of this site; what older secret keys sealed still opens."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keys = [salted_hmac(_SALT, prefix, secret, algorithm="sha256").digest() for secret in secrets]
    return Sealer(keys, format_named(serializer))


class SignedSerializer(BaseSerializer):  # type: ignore[misc]
    """Sign what django-redis itself stores, the members of sets and hashes. Raises ValueError for anything else."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._sealer = sealer("pickle")

    def dumps(self, value: Any) -> bytes:
        """Return signed bytes."""
        return self._sealer.seal(_NO_KEY, value)

    def loads(self, value: bytes) -> Any:
        """Return what was signed."""
        opened = self._sealer.open(_NO_KEY, value)
        if opened is None:
            raise ValueError("a value that this site has not signed")
        return opened.value
