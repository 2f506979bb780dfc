"""Measures what a thread would gain: whether work is offloaded, and whether it releases the GIL."""
