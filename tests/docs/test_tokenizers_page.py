"""The page that compares tokenizers has a row for each that can be imported by name, and it is the code's."""

from benchmarks.published.table import Model, measured, models, row
from bitmill.bsq_model.importing.published_models import PUBLISHED_MODELS
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from tests.bsq_model.published.golden import CONFIGS
from tests.support.commands import REPOSITORY


def test_the_table_is_the_codes():
    lines = (REPOSITORY / "docs/tokenizers.md").read_text().splitlines()
    told = {_unmeasured(line) for line in lines if line.startswith("| ")}
    for model in models():
        assert _unmeasured(row(model, None)) in told, row(model, None)


def test_the_page_of_imports_says_where_each_models_weights_are():
    page = (REPOSITORY / "docs/import.md").read_text()
    section = page.split("## Where the weights are")[1].split("\n## ")[0]
    for name, model in PUBLISHED_MODELS.items():
        # "nvidia/NAME on Hugging Face", "NAME.pth of FoundationVision/Infinity on Hugging Face"
        repository = model.source.removesuffix(" on Hugging Face").rpartition(" of ")[2]
        asked = (repository, repository.removesuffix(name))
        assert any(f"`{text}`" in section for text in asked), model.source


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
