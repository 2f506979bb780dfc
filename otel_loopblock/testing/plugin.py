"""The pytest plugin; inert until asked."""
