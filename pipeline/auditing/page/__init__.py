"""Renders an audit as one HTML file that opens from disk. Uses only reports: no storage, Ray or model."""

from bitmill.pipeline.auditing.page.rendering import render_comparison, render_page

__all__ = ["render_comparison", "render_page"]
