"""Name the tables of the store; minutes are counted since 1970, UTC."""

from __future__ import annotations

from django.db import models


class Series(models.Model):
    """Give the labels of a series a number. `labels` is a JSON list in the order of Kind.labels."""

    key_hash = models.CharField(max_length=32, unique=True)
    kind = models.CharField(max_length=32)
    labels = models.TextField()
    # A default of the database: workers of the version before know nothing of this column.
    first_seen = models.IntegerField(default=0, db_default=0, help_text="Minute; 0 for what is older than this column.")
    last_seen = models.IntegerField(help_text="Minute, exact to an hour.")

    class Meta:
        indexes = [models.Index(fields=["kind", "last_seen"], name="django_perf_series_kind")]


class Delta(models.Model):
    """Log what one process measured in one minute, packed; waits to be merged, then remembers its flush for a while."""

    class State(models.IntegerChoices):
        """Tell what has become of a delta."""

        WAITING = 0
        MERGED = 1
        UNREADABLE = 2

    flush_id = models.CharField(max_length=32)
    minute = models.IntegerField()
    state = models.SmallIntegerField(default=State.WAITING)
    version = models.SmallIntegerField()
    host = models.CharField(max_length=64)
    pid = models.IntegerField()
    started = models.FloatField()
    taken = models.FloatField()
    is_final = models.BooleanField(default=False)
    levels = models.JSONField(default=dict)
    payload = models.BinaryField()

    class Meta:
        # The same flush sent twice (its COMMIT was acknowledged to nobody) must not count twice.
        constraints = [models.UniqueConstraint(fields=["flush_id", "minute"], name="django_perf_delta_once")]
        indexes = [models.Index(fields=["state", "minute"], name="django_perf_delta_state")]


class Rollup(models.Model):
    """Hold a sixteenth of the series of one kind over one bucket of a tier, packed as store.rows does it.

    One row per series would be two thirds overhead; one row for all would make a chart of one series read everything.
    """

    # In this order making, reading and deleting a bucket are one range each; a chart of one series names its buckets.
    pk = models.CompositePrimaryKey("tier", "kind", "bucket", "shard")
    tier = models.SmallIntegerField()
    kind = models.SmallIntegerField(help_text="Kind.number")
    bucket = models.IntegerField(help_text="First minute of the bucket.")
    shard = models.SmallIntegerField(help_text="Number of the series modulo SHARDS.")
    data = models.BinaryField()


class Total(models.Model):
    """Hold a sixteenth of the series of one kind since the store began, or was cleared: a counter must not fall.

    `host` is "" where the hosts are not told apart.
    """

    pk = models.CompositePrimaryKey("host", "kind", "shard")
    host = models.CharField(max_length=64)
    kind = models.SmallIntegerField(help_text="Kind.number")
    shard = models.SmallIntegerField(help_text="Number of the series modulo SHARDS.")
    data = models.BinaryField()


class Mark(models.Model):
    """Remember that something happened to the site, a deploy as a rule: a line in every chart."""

    at = models.FloatField(help_text="Seconds since 1970.")
    text = models.CharField(max_length=100)

    class Meta:
        indexes = [models.Index(fields=["at"], name="django_perf_mark_at")]


class Order(models.Model):
    """Tell all processes to do `what` to `target`; each follows at its next flush."""

    at = models.FloatField(help_text="Seconds since 1970.")
    what = models.CharField(max_length=32)
    target = models.CharField(max_length=64)


class AlertState(models.Model):
    """Remember an alert that fires, or has just ended, and who was told of it, for whichever process looks next.

    Times are seconds since 1970. `alert` is a Rule's id, `told` holds [is_firing, when] by channel, `claimed` is when a
    process set out to tell, and `version` grows with every change: of two that have read the same, one may go on.
    """

    alert = models.CharField(max_length=32)
    endpoint = models.CharField(max_length=255, help_text="'GET route', or '' for the whole site.")
    is_firing = models.BooleanField()
    began = models.FloatField()
    since = models.FloatField()
    calm_since = models.FloatField(default=0)
    value = models.FloatField(null=True)
    count = models.BigIntegerField(default=0)
    told = models.JSONField(default=dict)
    claimed = models.FloatField(default=0)
    version = models.IntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alert", "endpoint"], name="django_perf_alert_once")]


class Sample(models.Model):
    """Keep a real example of what a series counts, for some days: `doc` is a timeline without any value from outside.

    `series` and `endpoint` are hashes of (reason, *labels) and of (route, method); `lot` decides which examples stay,
    beside the slowest of each series and hour.
    """

    series = models.CharField(max_length=32)
    endpoint = models.CharField(max_length=32)
    at = models.FloatField(help_text="Seconds since 1970.")
    value = models.BigIntegerField(help_text="Microseconds.")
    lot = models.FloatField()
    bytes = models.IntegerField()
    doc = models.JSONField()

    class Meta:
        indexes = [
            models.Index(fields=["series", "at"], name="django_perf_sample_series"),
            models.Index(fields=["endpoint", "at"], name="django_perf_sample_endpoint"),
            models.Index(fields=["at"], name="django_perf_sample_at"),
        ]


class Process(models.Model):
    """Remember the last report of a process, to tell a clean stop from a kill."""

    host = models.CharField(max_length=64)
    pid = models.IntegerField()
    started = models.FloatField()
    last_seen = models.FloatField()
    is_final = models.BooleanField(default=False)
    levels = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "pid", "started"], name="django_perf_process_once")]


class Lease(models.Model):
    """Let one process at a time do the housekeeping. `generation` grows with every change of the rollups.

    `rolled` holds, per tier, the minute up to which its buckets are made: {"1": 29735000, ...}.
    """

    name = models.CharField(max_length=32, primary_key=True)
    owner = models.CharField(max_length=120, default="")
    expires = models.FloatField(default=0)
    generation = models.BigIntegerField(default=0)
    rolled = models.JSONField(default=dict)
