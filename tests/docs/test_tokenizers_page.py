"""The page that compares tokenizers has a row for each that can be imported by name, and it is the code's."""

from benchmarks.published.table import Model, measured, models, row
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from tests.bsq_model.published.golden import CONFIGS
from tests.support.commands import REPOSITORY


def test_the_table_is_the_codes():
    lines = (REPOSITORY / "docs/tokenizers.md").read_text().splitlines()
    told = {_unmeasured(line) for line in lines if line.startswith("| ")}
    for model in models():
        assert _unmeasured(row(model, None)) in told, row(model, None)


def _unmeasured(line: str) -> str:
    return line.rpartition("|")[0].rpartition("|")[0]


def test_a_model_is_measured():
    config = CONFIGS["open-magvit2"]
    model = Model(
        name="small",
        geometry=config.geometry,
        licence="MIT",
        network="",
        make=lambda: PublishedTokenizer(config),
    )
    encoded, decoded = measured(model)
    assert encoded > 0
    assert row(model, (encoded, decoded)).startswith(
        "| small | 18 | 1×2×2 | – | 1: images | multiples of 2 |"
    )
