"""The format of the compressed stream: header and chunks."""
