"""The forms by their names."""

from pipeline.exporting.bin import BinForm
from pipeline.exporting.form import Form
from pipeline.exporting.huggingface import HuggingfaceForm
from pipeline.exporting.webdataset import WebdatasetForm
from schemas.export import ExportForm


def form_of(name: ExportForm, bits_per_token: int) -> Form:
    """The form for tokens of L bits."""
    match name:
        case ExportForm.WEBDATASET:
            return WebdatasetForm(bits_per_token)
        case ExportForm.BIN:
            return BinForm(bits_per_token)
        case ExportForm.HUGGINGFACE:
            return HuggingfaceForm(bits_per_token)
