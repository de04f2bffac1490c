"""Changes modules in every Python process that a command starts, Ray's workers included.

Python runs a sitecustomize.py of PYTHONPATH at each start: the way into those processes.
"""

from pathlib import Path

_FINDER = """

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in CHANGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            CHANGES[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


def change_modules(site: Path, code: str) -> None:
    """Make a folder for PYTHONPATH. ``code`` defines CHANGES: by a module's name, what is called with the
    module once it has been imported."""
    site.mkdir()
    (site / "sitecustomize.py").write_text(code + _FINDER)
