"""Keep the dictionaries, where all processes and machines find them."""

from __future__ import annotations

from django.db import models


class CompressionDictionary(models.Model):
    """Hold one dictionary, which never changes: another content is another one. `match` is the path it is for."""

    class State(models.TextChoices):
        """Tell what has become of a dictionary: nothing is used that nobody has approved."""

        DRAFT = "draft"
        ACTIVE = "active"
        RETIRED = "retired"

    sha256 = models.CharField(max_length=64, unique=True)
    match = models.CharField(max_length=200)
    content = models.BinaryField()
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    created = models.DateTimeField()
    retired = models.DateTimeField(null=True)
