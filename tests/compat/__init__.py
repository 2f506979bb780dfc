"""CPython's own tests of asyncio, with the package on and without it: the same must come out."""
