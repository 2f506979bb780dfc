"""What runs around every callback, waits for long ones and walks stacks: the compiled core is in native/.

Nothing imports it yet. Its tests build it and try it on both loops; the hooks and the watchdog, and a twin in
Python with the same names, come to it next.
"""
