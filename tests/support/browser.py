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
    """A page opened from disk without a network, and all that it asked for or complained about."""

    page: "Page"
    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])


@contextmanager
def opened(browser: "Browser", file: Path, **context_options: Any) -> Generator[Watched]:
    """Show ``file``; every request but that for itself is written down and refused."""
    address = file.as_uri()
    context = browser.new_context(offline=True, **context_options)
    watched = Watched(context.new_page())

    def answer(route: "Route") -> None:
        if route.request.url.partition("#")[0] == address:
            route.continue_()
        else:
            watched.requests.append(route.request.url)
            route.abort()

    context.route("**/*", answer)
    watched.page.on("console", lambda message: watched.complaints.append(f"{message.type}: {message.text}"))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    watched.page.goto(address)
    yield watched
    context.close()
