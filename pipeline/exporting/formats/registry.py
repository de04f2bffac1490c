"""Looks up forms by name."""

from bitmill.pipeline.exporting.formats.base import Form
from bitmill.pipeline.exporting.formats.bin import BinForm
from bitmill.pipeline.exporting.formats.huggingface import HuggingfaceForm
from bitmill.pipeline.exporting.formats.webdataset import WebdatasetForm
from bitmill.schemas.reports.export_inventory import ExportForm


def form_of(name: ExportForm, bits_per_token: int) -> Form:
    """The form for tokens of L bits."""
    match name:
        case ExportForm.WEBDATASET:
            return WebdatasetForm(bits_per_token)
        case ExportForm.BIN:
            return BinForm(bits_per_token)
        case ExportForm.HUGGINGFACE:
            return HuggingfaceForm(bits_per_token)
