"""Exports a dataset's clips to formats of other loaders. Does not use Ray, torch, decoders or the model."""

from bitmill.pipeline.exporting.progress import ExportProgress
from bitmill.pipeline.exporting.run_export import ExportResult, export_dataset

__all__ = ["ExportProgress", "ExportResult", "export_dataset"]
