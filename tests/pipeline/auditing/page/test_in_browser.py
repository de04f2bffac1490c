"""The page in a real browser: what a person sees and does there."""

import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from bitmill.jobs.execution.audit_dataset import AuditRequest, run_audit
from bitmill.pipeline.auditing.page import render_comparison, render_page
from bitmill.schemas.reports.audit_report import AuditReport
from tests.support.audit_parts import LEGIBLE
from tests.support.audit_reports import pictures_of, plain_report, rich_report
from tests.support.browser import Watched, window
from tests.support.coded_datasets import GEOMETRIES, PACKAGE, coded_dataset
from tests.support.pyramid_tokenizers import pyramid_geometry

pytestmark = pytest.mark.browser

Show = Callable[..., AbstractContextManager[Watched]]

RICH_SECTIONS = [
    "Numbers",
    "Findings",
    "Coverage",
    "Frame sizes",
    "Failures",
    "Distributions",
    "Code health",
    "Sample",
    "Duplicates",
    "Left out",
    "Tokenizer and job",
]


@pytest.fixture(scope="module")
def _shown(browser: Browser) -> Generator[Watched]:
    """One page for all reports, one after the other."""
    with window(browser) as watched:
        yield watched


@pytest.fixture
def show(_shown: Watched, tmp_path: Path) -> Show:
    """Shows the page of a report, or of two compared; fails where it complains or asks for anything."""

    @contextmanager
    def _show(
        report: AuditReport, other: AuditReport | None = None, *, dark: bool = False, width: int = 1280
    ) -> Generator[Watched]:
        html = render_comparison(report, other) if other else render_page(report, pictures_of(report))
        file = tmp_path / "audit.html"
        file.write_text(html, encoding="utf-8")
        _shown.page.emulate_media(color_scheme="dark" if dark else "light")
        _shown.page.set_viewport_size({"width": width, "height": 720})
        _shown.show(file)
        yield _shown
        assert _shown.complaints == []
        assert _shown.requests == []

    return _show


@pytest.fixture(scope="module")
def _rich(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[Watched]:
    report = rich_report()
    file = tmp_path_factory.mktemp("rich") / "audit.html"
    file.write_text(render_page(report, pictures_of(report)), encoding="utf-8")
    with window(browser) as watched:
        watched.show(file)
        yield watched


@pytest.fixture
def rich(_rich: Watched) -> Generator[Page]:
    """The page of a rich report, shown once: tests may open its boxes and change what no other looks at."""
    yield _rich.page
    assert _rich.complaints == []
    assert _rich.requests == []


def _open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    page.wait_for_function(
        "[...document.querySelectorAll('details')].every((box) => box.lastChild.firstChild)"
    )


def _failures_only(**changes: Any) -> AuditReport:
    return rich_report(codes=None, duplicates=None, sample=None, **changes)


def _failures(page: Page) -> Locator:
    return page.locator("#failures .table").last


def _column(table: Locator, number: int) -> list[str]:
    return table.locator(f"tbody tr td:nth-child({number})").all_inner_texts()


def test_a_rich_report_shows_all_its_sections_in_order_and_draws_its_charts(rich):
    assert rich.locator("h2").all_inner_texts() == RICH_SECTIONS
    assert rich.locator("nav a").all_inner_texts() == RICH_SECTIONS
    expect(rich.get_by_role("region", name="Verdict")).to_contain_text("Damaged")
    figures = rich.locator("figure")
    expect(rich.locator("figure .chart svg path").first).to_be_attached()
    assert rich.locator("figure .chart svg").count() == figures.count() > 10


def test_a_report_without_parts_has_no_sections_for_them(show):
    with show(plain_report()) as watched:
        assert watched.page.locator("h2").all_inner_texts() == ["Numbers", "Findings", "Tokenizer and job"]
        expect(watched.page.get_by_role("region", name="Verdict")).to_contain_text("There is nothing to do.")


KINDS = {
    "digits": ["Entropy of each digit", "Values of digit 3", "Digit entropy over a clip's token rows"],
    "index": ["Use of each code"],
    "wide bits": ["Entropy of each bit", "Correlation of bits", "Bit entropy along the dataset"],
    "bits, least first": ["Share of ones of each bit", "Bit entropy over a clip's frames"],
    "pyramid": ["Use of each code"],
    "pyramid of bits": ["Share of ones of each bit", "Bit entropy over a pyramid's scales"],
}
PYRAMID_OF_BITS = pyramid_geometry([(1, 1), (2, 2), (4, 4)], bits=16)


@pytest.mark.parametrize("name", KINDS)
def test_codes_of_every_kind_are_drawn(show, tmp_path, name):
    coded_dataset(tmp_path / "tokens", GEOMETRIES.get(name, PYRAMID_OF_BITS))
    report = run_audit(str(tmp_path / "tokens"), AuditRequest(workers=1)).report
    with show(report) as watched:
        page = watched.page
        _open_all(page)
        titles = page.locator("#codes figcaption").all_inner_texts()
        assert [title for title in KINDS[name] if not any(title in one for one in titles)] == []
        assert page.locator("#codes .chart svg").count() == len(titles)
        expect(page.locator("#sample")).to_contain_text(f"install {PACKAGE}")
    with show(report, plain_report(codes=rich_report().codes)) as watched:
        assert "Code health" in watched.page.locator("h2").all_inner_texts()


def test_every_chart_tells_its_values_in_a_table(rich):
    _open_all(rich)
    lacking = rich.evaluate(
        """[...document.querySelectorAll("figure")]
            .filter((figure) => !figure.querySelector("tbody td")
                && !figure.parentElement.querySelector(":scope > div tbody td"))
            .map((figure) => figure.innerText)"""
    )
    assert lacking == []


def test_hostile_text_is_shown_as_it_is_and_runs_nothing(rich):
    _open_all(rich)
    expect(rich.locator("h1")).to_have_text(f"Audit of s3://tokens/films-{LEGIBLE}")
    for place in (
        "#findings",
        "#coverage",
        "#failures",
        "#sample",
        "#duplicates",
        "#left-out",
        "#origin",
    ):
        expect(rich.locator(f"{place} bdi").filter(has_text=LEGIBLE).first).to_be_attached()
    assert rich.evaluate("window.hacked") is None
    assert rich.locator("script").count() == 3
    assert rich.locator("img[src=x]").count() == 0


def test_a_charts_tooltip_shows_hostile_text_too(rich):
    chart = rich.locator("#coverage .chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    rich.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + box["height"] - 40)
    expect(rich.locator(".tip bdi").first).to_have_text(f"s3://x/{LEGIBLE}")
    assert rich.evaluate("window.hacked") is None


def test_the_failure_table_sorts_by_mouse_and_by_keyboard(show):
    report = _failures_only(num_failures=20)
    with show(report) as watched:
        table = _failures(watched.page)
        head, button = (
            table.get_by_role("columnheader", name="size"),
            table.get_by_role("button", name="size"),
        )
        expect(head).to_have_attribute("aria-sort", "none")
        by_size = sorted(report.coverage.failures, key=lambda row: row.size_bytes)
        names = [row.source.rpartition("/")[2] for row in by_size]
        button.click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        assert [text.rpartition("/")[2] for text in _column(table, 3)] == names
        button.focus()
        watched.page.keyboard.press("Enter")
        expect(head).to_have_attribute("aria-sort", "descending")
        assert [text.rpartition("/")[2] for text in _column(table, 3)] == names[::-1]


def test_the_failure_table_filters_by_words_and_by_reason(show):
    with show(_failures_only()) as watched:
        table = _failures(watched.page)
        table.get_by_label("Filter by text").fill("KITCHEN cannot")
        kept = _column(table, 3)
        assert kept
        assert all("kitchen" in source for source in kept)
        table.get_by_label("Reason").select_option("too_short")
        assert set(_column(table, 2)) == {"too_short"}
        assert len(_column(table, 2)) < len(kept)
        table.get_by_label("Filter by text").fill("no such words")
        assert _column(table, 2) == []
        expect(table.get_by_role("status").first).to_have_text("0 of 60 rows")


def test_the_failure_table_pages(show):
    with show(_failures_only()) as watched:
        table = _failures(watched.page)
        first = _column(table, 3)
        assert len(first) == 25
        expect(table.get_by_role("button", name="Previous")).to_be_disabled()
        table.get_by_role("button", name="Next").click()
        table.get_by_role("button", name="Next").click()
        expect(table.get_by_role("status").last).to_have_text("51–60 of 60")
        expect(table.get_by_role("button", name="Next")).to_be_disabled()
        assert not set(first) & set(_column(table, 3))


def test_coverage_is_shown_by_the_chosen_property(rich):
    coverage = rich.locator("#coverage")
    coverage.get_by_role("combobox", name="By").select_option("codec")
    assert _column(coverage.locator(".table"), 1) == ["h264", "hevc", "av1", "not told"]
    expect(coverage.locator(".chart svg text", has_text="hevc").first).to_be_attached()
    coverage.get_by_role("combobox", name="As").select_option("shares")
    expect(coverage.locator(".chart svg text", has_text="100 %").first).to_be_attached()


def test_frame_sizes_are_listed_with_what_was_cropped(rich):
    sizes = rich.locator("#sizes")
    assert _column(sizes.locator(".table"), 1) == ["256×448", "448×256", "256×256"]
    assert _column(sizes.locator(".table"), 7) == ["0\u202f%", "11.5\u202f%", "–"]
    expect(sizes.get_by_text("7.4\u202f%", exact=True)).to_be_visible()
    sizes.get_by_role("button", name="height × width").click()
    assert _column(sizes.locator(".table"), 1)[0] == "256×256"


def test_pictures_are_seen_and_can_be_enlarged(rich):
    widths = rich.evaluate(
        "Promise.all([...document.images].map((i) => i.decode().then(() => i.naturalWidth)))"
    )
    assert widths == [512] * 12
    rich.get_by_role("button", name="Enlarge").first.click()
    expect(rich.get_by_role("dialog")).to_be_visible()
    rich.keyboard.press("Escape")
    expect(rich.get_by_role("dialog")).to_have_count(0)


def test_the_theme_follows_the_system_and_the_button(show):
    with show(rich_report(), dark=True) as watched:
        page = watched.page
        ground = "getComputedStyle(document.body).backgroundColor"
        label = page.locator("#codes .chart svg text").first
        dark, dark_label = page.evaluate(ground), label.get_attribute("fill")
        page.get_by_role("button", name="Light theme").click()
        assert page.evaluate(ground) != dark
        assert page.locator("#codes .chart svg text").first.get_attribute("fill") != dark_label
        page.get_by_role("button", name="Dark theme").click()
        assert page.evaluate(ground) == dark


@pytest.mark.parametrize("compared", [False, True], ids=["audit", "comparison"])
def test_a_phone_scrolls_it_downwards_only(show, compared):
    other = rich_report(seed=1) if compared else None
    with show(rich_report(), other, width=360) as watched:
        _open_all(watched.page)
        assert watched.page.evaluate("document.documentElement.scrollWidth") == 360


def _short(report: AuditReport) -> AuditReport:
    """With a few rows of each table; of twice the elements, axe takes three times as long."""
    coverage, codes, sample, duplicates = report.coverage, report.codes, report.sample, report.duplicates
    assert codes
    assert sample
    assert duplicates
    tables = [table.model_copy(update={"rows": table.rows[:4]}) for table in coverage.tables]
    few = {part: getattr(codes, part)[:3] for part in ("by_frame", "by_source", "along")}
    return report.model_copy(
        update={
            "coverage": coverage.model_copy(update={"tables": tables}),
            "codes": codes.model_copy(update=few),
            "sample": sample.model_copy(update={"clips": sample.clips[:3]}),
            "duplicates": duplicates.model_copy(update={"groups": duplicates.groups[:3]}),
        }
    )


_OF_COLORS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules of axe that look at colors, which are all that a dark page differs by."""


@pytest.mark.parametrize("compared", [False, True], ids=["audit", "comparison"])
def test_axe_finds_nothing_serious(show, compared):
    other = _short(rich_report(seed=1)) if compared else None
    with show(_short(rich_report(num_failures=10)), other) as watched:
        _open_all(watched.page)
        assert _serious(watched.page) == []
        watched.page.emulate_media(color_scheme="dark")
        assert _serious(watched.page, _OF_COLORS) == []


def _serious(page: Page, options: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    found = Axe().run(page, options=options).response["violations"]
    serious = [rule for rule in found if rule["impact"] in {"serious", "critical"}]
    return [(rule["id"], rule["nodes"][0]["html"]) for rule in serious]


def test_two_thousand_failures_and_wide_tokens_work(show):
    with show(rich_report(num_failures=2000, bits=36)) as watched:
        table = _failures(watched.page)
        table.get_by_role("button", name="source").click()
        expect(table.get_by_role("status").last).to_have_text(re.compile(r"^1–25 of 2.000$"))
        expect(watched.page.locator("#codes .chart svg").nth(2).locator("path").nth(1200)).to_be_attached()


def test_two_audits_stand_side_by_side(show):
    other = rich_report(
        seed=1, dataset="other", verdict="sound", findings=[], tokenizer_fingerprint="0a" * 16
    )
    with show(rich_report(), other) as watched:
        page = watched.page
        expect(page.get_by_role("region", name="Verdict of A")).to_contain_text("Damaged")
        expect(page.get_by_role("region", name="Verdict of B")).to_contain_text("Sound")
        expect(page.get_by_text("The tokenizers differ.")).to_be_visible()
        assert [*page.locator("h2").all_inner_texts()] == [
            "Totals",
            "Findings",
            "Coverage",
            "Reasons",
            "Code health",
            "Sample",
            "Duplicates",
        ]
        row = page.locator("#totals tbody tr", has_text="Planned sources").locator("td").all_inner_texts()
        assert row[1:] == ["14\u202f203", "14\u202f203", "0"]


def test_an_audit_with_all_parts_compares_with_one_without(show):
    with show(plain_report(), rich_report()) as watched:
        assert "Code health" in watched.page.locator("h2").all_inner_texts()
    with show(plain_report(), plain_report()) as watched:
        assert watched.page.locator("h2").all_inner_texts() == ["Totals", "Findings"]
