"""Ways out: a dataset's clips in the layouts that other loaders read. Knows no Ray, no decoder, no model."""

from bitmill.pipeline.exporting.progress import ExportProgress
from bitmill.pipeline.exporting.run_export import ExportResult, export_dataset

__all__ = ["ExportProgress", "ExportResult", "export_dataset"]
