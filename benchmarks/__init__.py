"""Benchmarks: how far the estimates are from what engines printed."""
