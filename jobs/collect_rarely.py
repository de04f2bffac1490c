"""Makes Python look for garbage rarely, in processes of bitmill's own."""

import atexit
import gc


def collect_rarely() -> None:
    """Start a process and end it sooner, above all one that imports torch.

    Imports make hundreds of thousands of objects, none of them garbage, and Python would look through all of
    them again and again meanwhile, and at exit. Reference counts free what is in no cycle, as always.
    """
    gc.set_threshold(10_000, 20)
    atexit.register(gc.freeze)
