"""What runs in the watched process first. Nobody imports it: the process executes its text.

Python does so in the main thread, in the middle of anything, and the loop waits meanwhile. So all that
happens there is to start a thread, in the one way that takes no lock: the main thread may hold any.
"""


def begin(folder: str, package: str) -> None:
    """Have the command's socket served from now on.

    Args:
        folder: where the command's socket is.
        package: the folder of ``otel_loopblock`` that is used where none is loaded yet.
    """
    import _thread
    import sys

    asyncio = sys.modules.get("asyncio")
    loop = asyncio._get_running_loop() if asyncio is not None else None

    def run() -> None:
        import contextlib
        import json
        import os
        import shutil
        import socket
        import threading

        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(os.path.join(folder, "socket"))
        except OSError:  # nobody waits any more
            line.close()
            return
        finally:  # the command does so as well, if it lives
            shutil.rmtree(folder, ignore_errors=True)
        try:
            load()
            from otel_loopblock.attach.target import serve

            serving = threading.Thread(
                target=serve, args=(line, loop), name="otel-loopblock-attach", daemon=True
            )
            serving.start()
        except BaseException as error:
            if isinstance(error, ModuleNotFoundError) and error.name == "otel_loopblock":
                text = f"it cannot read {package}, and has no otel_loopblock of its own: see --path"
            else:
                text = f"it could not import otel_loopblock: {error!r}"
            with contextlib.suppress(OSError):
                line.sendall(json.dumps({"error": text}).encode() + b"\n")
            line.close()

    def load() -> None:
        """Import the package without putting its folder on the path: others that lie there stay unseen."""
        import importlib.util
        import os

        root = os.path.join(package, "__init__.py")
        if "otel_loopblock" in sys.modules or not os.access(root, os.R_OK):
            import otel_loopblock  # noqa: F401

            return
        spec = importlib.util.spec_from_file_location(
            "otel_loopblock", root, submodule_search_locations=[package]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["otel_loopblock"] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules["otel_loopblock"]
            raise

    _thread.start_new_thread(run, ())
