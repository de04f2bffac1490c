"""Foreign text on its way to a terminal, by each way in and each command: no control character arrives."""

import io
import json
import sys

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bitmill.jobs.cli import main
from bitmill.jobs.console import Console, print_json, print_output
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason
from tests.support.audits import Planted, dataset_of
from tests.support.fakes import make_item

ODD = "a\x1b[2J\x07\x9b1m\rb\n:dog:[red]\u202e"
SPELLED = r"a\x1b[2J\x07\x9b1m\rb\n:dog:[red]\u202e"


def _is_plain(text):
    return text.replace("\n", "").isprintable()


@pytest.mark.parametrize("within", ["line", "table", "live"])
def test_what_is_printed_is_spelled_out(within):
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(ODD, "next")
    out = io.StringIO()
    console = Console(file=out, width=100, color_system=None, force_terminal=within == "live")
    if within == "live":
        with Live(console=console, auto_refresh=False) as live:
            live.update(table, refresh=True)
        assert "\x1b[2J" not in out.getvalue()
        assert not set("\x07\x9b\u202e") & set(out.getvalue())
    else:
        console.print(ODD if within == "line" else table)
        assert _is_plain(out.getvalue())
    assert SPELLED in out.getvalue()


def test_text_of_richs_own_kind_is_spelled_out():
    out = io.StringIO()
    Console(file=out, width=100).print(Text("a\x1b[2J\x9b1m\u202e"))
    assert out.getvalue() == "a\\x1b[2J\\x9b1m\\u202e\n"


def test_a_cells_width_is_that_of_what_is_shown():
    table = Table("name", "kind", box=None, pad_edge=False)
    table.add_row(ODD, "x")
    table.add_row("plain", "y")
    out = io.StringIO()
    Console(file=out, width=100).print(table)
    header, odd, plain = (line.rstrip() for line in out.getvalue().splitlines())
    assert odd.rindex("x") == plain.rindex("y") == header.index("kind")


def test_a_live_line_is_spelled_out():
    now, out = [0.0], io.StringIO()
    with LiveLine(Console(file=out, width=100, force_terminal=True), clock=lambda: now[0]) as line:
        now[0] = 1.0
        line.show(lambda: "at \x1b[2J\u202e.mp4")
    assert r"at \x1b[2J\u202e.mp4" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


def test_json_keeps_its_values(capsys):
    print_json(json.dumps({"name": ODD}, ensure_ascii=False, indent=1))
    out = capsys.readouterr().out
    assert _is_plain(out)
    assert json.loads(out) == {"name": ODD}


def test_a_jobs_output_keeps_its_lines_and_loses_its_colours(capsys):
    print_output("\x1b[36mone\x1b[0m\ntw\x1b]0;title\x07o")
    assert capsys.readouterr().out == "one\ntw\\x1b]0;title\\x07o"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A dataset of sources with odd names: one whole, one failed, and a ledger that an audit complains of."""
    path = tmp_path_factory.mktemp("odd") / "tokens"
    name = f"/media/{ODD}"
    planted = [
        Planted(
            PlannedSource(uri=f"{name}.mp4", size_bytes=1, version=ODD, metadata=json.dumps({"by": ODD})),
            list(make_item(0, [2])),
        ),
        Planted(
            PlannedSource(uri=f"{name}2.mp4", size_bytes=1, version="2"),
            list(make_item(1, [], reason=Reason.CORRUPT)),
        ),
    ]
    dataset = dataset_of(path, planted)
    dataset.change_rows(0, lambda rows: rows.append(rows[0]))
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "{tokens}"),
        ("inspect", "{tokens}/shards/{shard}"),
        ("audit", "{tokens}", "--out", "{out}", "--workers", "1", "--by", "by"),
        ("audit", "{tokens}", "--out", "{out}", "--workers", "1", "--json"),
        ("trace", "{tokens}", "--source", "/media/{odd}.mp4"),
        ("trace", "{tokens}", "--source", "/media/{odd}.mp4", "--json"),
        ("remove", "{tokens}", "--source", "/media/{odd}3.mp4", "--yes"),
        ("preview", "{tokens}", "--source", "/media/{odd}3.mp4", "--out", "{out}/{odd}.png"),
        ("plan", "/nowhere/{odd}.mp4", "{out}/{odd}"),
        ("plan", "{odd}.yaml"),
        ("plan", "/nowhere/{odd}.csv", "{out}/x"),
        ("tokenize", "/nowhere", "{out}/x", "--set", "{odd}=1"),
        ("status", "/nowhere/{odd}"),
        ("export", "/nowhere/{odd}", "{out}/x", "--to", "webdataset"),
        ("inspect", "--{odd}"),
        ("{odd}",),
    ],
)
def test_no_command_lets_one_through(words, tokens, tmp_path, capsys, monkeypatch):
    (shard,) = Folder(str(tokens)).list_names("shards")
    places = {"tokens": tokens, "shard": shard, "out": tmp_path, "odd": ODD}
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["bitmill", *(word.format(**places) for word in words)])
    with pytest.raises(SystemExit):
        main()
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert _is_plain(said)
    assert r"\x1b[2J" in said or r"\u001b[2J" in said or "/shards/" in words[-1]
