"""Measure each claim of the README against a named rival, interleaved in one run, as ratios.

One rival needs psycopg 3, which Django prefers wherever it can be imported; so it cannot be, except in that rival's
process (pool_worker), and everything else is measured on psycopg2.
"""

import sys

sys.modules["psycopg"] = None  # type: ignore[assignment]
