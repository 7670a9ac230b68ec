"""Measure each claim of the README against a named rival, interleaved in one run, as ratios."""
