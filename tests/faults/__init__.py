"""Makes every function of the package raise, and shows that the application sees nothing of it.

``python -m tests.faults`` does so with all of them, on both loops and both cores. Files: ``app.py`` is the
application, ``injection.py`` finds functions and breaks one, ``child.py`` is one process,
``server.py`` forks many of those, ``judging.py`` says what was seen.
"""
