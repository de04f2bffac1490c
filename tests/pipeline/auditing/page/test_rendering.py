"""The page as a text: whole in itself, the same each time, and holding the report."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bitmill.pipeline.auditing.page as page_package
from bitmill.pipeline.auditing.page import render_comparison, render_page
from bitmill.pipeline.auditing.page.rendering import SCRIPTS
from bitmill.schemas.reports.audit_report import read_audit
from tests.support.audit_parts import HOSTILE, LEGIBLE
from tests.support.audit_reports import pictures_of, plain_report, rich_report

FOLDER = Path(page_package.__file__).parent


class _Parsed(HTMLParser):
    """Elements, their attributes, and what scripts and styles hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.raw: list[tuple[str, str]] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._inside = tag if tag in {"script", "style", "title"} else None
        if self._inside:
            self.raw.append((tag, ""))

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            tag, text = self.raw[-1]
            self.raw[-1] = (tag, text + data)

    def all(self, tag: str) -> list[str]:
        return [text for name, text in self.raw if name == tag]

    def policy(self) -> str:
        return (
            next(
                value
                for _, name, value in self.attributes
                if name == "content" and "default-src" in str(value)
            )
            or ""
        )


def _rich() -> str:
    report = rich_report()
    return render_page(report, pictures_of(report))


PAGES = {
    "rich": _rich,
    "plain": lambda: render_page(plain_report(), {}),
    "comparison": lambda: render_comparison(rich_report(), plain_report()),
}


@pytest.fixture(params=PAGES)
def page(request):
    return PAGES[request.param]()


def test_nothing_in_it_points_outside(page):
    parsed = _Parsed(page)
    links = [
        value for _, name, value in parsed.attributes if name in {"src", "href", "action", "srcset", "data"}
    ]
    assert links
    assert all(re.match("#|data:,", str(link)) for link in links)
    assert not re.search(r"url\(|@import", "".join(parsed.all("style")))


def test_its_policy_allows_its_own_scripts_and_style_and_no_others(page):
    parsed = _Parsed(page)
    data, *scripts = parsed.all("script")
    assert len(scripts) == 2
    words = {part.split()[0]: part.split()[1:] for part in parsed.policy().split("; ")}
    assert words["default-src"] == ["'none'"]
    assert words["img-src"] == ["data:"]
    assert words["script-src"] == [_word(script) for script in scripts]
    assert words["style-src"] == [_word(style) for style in parsed.all("style")]
    assert json.loads(data)


def _word(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("kind", PAGES)
def test_the_same_report_gives_the_same_page(kind):
    assert PAGES[kind]() == PAGES[kind]()


def test_it_holds_the_whole_report_with_hostile_text_made_legible():
    report = rich_report()
    parsed = _Parsed(render_page(report, {}))
    held = json.loads(parsed.all("script")[0])
    expected = json.loads(
        json.dumps(json.loads(report.to_json())).replace(json.dumps(HOSTILE)[1:-1], json.dumps(LEGIBLE)[1:-1])
    )
    assert held["report"] == expected
    assert parsed.all("title") == [f"Audit of s3://tokens/films-{LEGIBLE}"]


def test_lone_surrogates_do_no_harm():
    page = render_page(plain_report(dataset="bad \ud800 name"), {})
    page.encode()
    assert "bad \ufffd name" in page


def test_only_pictures_of_known_types_get_in():
    report = rich_report()
    names = list(pictures_of(report))
    pictures = {
        names[0]: b"<svg onload=alert(1)>",
        names[1]: b"RIFF\0\0\0\0WEBPVP8 ",
        names[2]: b"\xff\xd8\xff\xe0",
    }
    held = json.loads(_Parsed(render_page(report, pictures)).all("script")[0])["pictures"]
    assert held[0] is None
    assert str(held[1]).startswith("data:image/webp;base64,")
    assert str(held[2]).startswith("data:image/jpeg;base64,")
    assert set(held[3:]) == {None}


def test_a_report_of_version_1_is_still_read():
    document = json.loads(rich_report().to_json()) | {"format_version": 1}
    del document["geometry"], document["codes"]["kind"], document["codes"]["values"]
    report = read_audit(json.dumps(document).encode(), origin="it")
    assert report == rich_report(format_version=1)
    assert render_page(report, {}) == render_page(rich_report(format_version=1), {})


def test_every_script_is_in_the_page():
    assert sorted(SCRIPTS) == sorted(file.stem for file in (FOLDER / "script").iterdir())


def test_the_vendored_library_is_the_one_that_its_page_names():
    told = (FOLDER / "vendor" / "README.md").read_text()
    library = (FOLDER / "vendor" / "echarts.min.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() in told
    assert len(library) < 1_000_000
