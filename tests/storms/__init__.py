"""Overload: what a process does with the package on, beside the same without it.

``python -m tests.storms`` runs each storm in processes of its own, off and on in turns, and prints what was
done per second, the lag, the memory and what was dropped.
"""
