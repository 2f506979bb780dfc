"""Threads that keep the GIL while the loop wants to run: what is said of them. ``python -m tests.kept``."""
