"""Blocking detection in tests, and measurements of offloading."""
