"""Servers and frameworks, all of them real: a block in a handler is on the span of its request.

``python -m tests.servers`` installs them in an environment of their own, outside the tree, and prints the
table of docs/servers.md.
"""
