"""An audit as one HTML file that opens from disk. Knows reports only: no storage, no Ray and no model."""

from bitmill.pipeline.auditing.page.rendering import render_comparison, render_page

__all__ = ["render_comparison", "render_page"]
