"""What the package costs: instructions, which are the same on each run, and a few times, which are not.

``make bench-cost`` or ``python -m benchmarks.cost``; the results stand in ``docs/performance.md``.
"""
