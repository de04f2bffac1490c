"""A real browser for tests: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium_binary() -> str | None:
    """The browser's program on the PATH."""
    return next((path for name in _PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def chromium_browser() -> Generator["Browser"]:
    """Start it for the length of the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_binary())
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page without a network, and all that it asked for or complained about since it showed a file."""

    page: "Page"
    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])
    _address: str = ""

    def show(self, file: Path) -> None:
        """Every request but that for ``file`` itself is written down and refused."""
        self.requests.clear()
        self.complaints.clear()
        self._address = file.as_uri()
        self.page.goto(self._address)

    def answer(self, route: "Route") -> None:
        if route.request.url.partition("#")[0] == self._address:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()


@contextmanager
def window(browser: "Browser", **context_options: Any) -> Generator[Watched]:
    """A page that shows nothing yet. One for many files saves half a second of a core for each."""
    context = browser.new_context(offline=True, **context_options)
    watched = Watched(context.new_page())
    context.route("**/*", watched.answer)
    watched.page.on("console", lambda message: watched.complaints.append(f"{message.type}: {message.text}"))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    yield watched
    context.close()


@contextmanager
def opened(browser: "Browser", file: Path, **context_options: Any) -> Generator[Watched]:
    """Show ``file`` in a page of its own."""
    with window(browser, **context_options) as watched:
        watched.show(file)
        yield watched
