"""Imported last by the process that commands are forked from.

What is there by then is no garbage: a collection in a forked process would look through all of it for a
quarter of a second, and copy its pages.
"""

import gc

from PIL import Image

# Of Pillow, which imports its formats when it first opens a picture.
Image.init()
gc.freeze()
