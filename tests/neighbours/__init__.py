"""Other tools in the same process: each beside ours, before and after it, taken out in any order.

``python -m tests.neighbours`` installs them in an environment of its own, outside the tree.
"""
