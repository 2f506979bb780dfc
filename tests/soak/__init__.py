"""A real service under mixed load for as long as one likes: ``python -m tests.soak --minutes 5``."""
