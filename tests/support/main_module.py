"""Work of a child process: it tells which main module it has."""

import sys
from multiprocessing.connection import Connection


def tells_its_main_module(pipe: "Connection[str, None]") -> None:
    """Send the file of the main module."""
    pipe.send(getattr(sys.modules["__main__"], "__file__", "no file"))
