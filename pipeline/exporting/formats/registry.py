"""Looks up formats by name."""

from bitmill.pipeline.exporting.formats.base import Format
from bitmill.pipeline.exporting.formats.bin import BinFormat
from bitmill.pipeline.exporting.formats.huggingface import HuggingfaceFormat
from bitmill.pipeline.exporting.formats.webdataset import WebdatasetFormat
from bitmill.schemas.reports.export_inventory import ExportedDataset, ExportFormat


def format_of(name: ExportFormat, dataset: ExportedDataset) -> Format:
    """The format for a dataset's tokens and columns."""
    return {
        ExportFormat.WEBDATASET: WebdatasetFormat,
        ExportFormat.BIN: BinFormat,
        ExportFormat.HUGGINGFACE: HuggingfaceFormat,
    }[name](dataset.tokens, dataset.format_version)
