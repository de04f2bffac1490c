"""Looks up formats by name."""

from bitmill.pipeline.exporting.formats.base import Format
from bitmill.pipeline.exporting.formats.bin import BinFormat
from bitmill.pipeline.exporting.formats.huggingface import HuggingfaceFormat
from bitmill.pipeline.exporting.formats.webdataset import WebdatasetFormat
from bitmill.schemas.reports.export_inventory import ExportFormat


def format_of(name: ExportFormat, bits_per_token: int) -> Format:
    """The format for tokens of L bits."""
    match name:
        case ExportFormat.WEBDATASET:
            return WebdatasetFormat(bits_per_token)
        case ExportFormat.BIN:
            return BinFormat(bits_per_token)
        case ExportFormat.HUGGINGFACE:
            return HuggingfaceFormat(bits_per_token)
