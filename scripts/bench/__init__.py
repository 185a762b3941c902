"""Benchmarks: paired in one run, medians, JSON kept with machine and versions. Never a timed test."""
