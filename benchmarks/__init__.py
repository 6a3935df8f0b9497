"""Measurements of CPU time, as ratios in one interleaved run."""
