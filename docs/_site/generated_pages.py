"""Fills in the reference pages that come from the code: the command line, and the keys of files."""

import re
from enum import Enum
from typing import Any, Literal, get_args, get_origin

_WORDS = {str: "text", int: "a whole number", float: "a number"}
_PAGE = re.compile(r"docs/([a-z-]+)\.md")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _fill_in)
    return {"parallel_read_safe": True}


def _fill_in(app: Any, page: str, source: list[str]) -> None:
    del app
    made = {"command-line": command_line, "keys": keys}.get(page)
    if made is not None:
        source[0] = source[0].replace("<!-- made from the code -->", made())


def command_line() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from bitmill.jobs.cli import app

    root: Any = get_command(app)
    parts = _paragraphs(root.help)
    for name, command in root.commands.items():
        for path, one in _leaves(name, command):
            parts += [f"## bitmill {path}", *_paragraphs(one.help), _usage(path, one), _options(one)]
    return "\n\n".join(part for part in parts if part)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _leaves(path: str, command: Any) -> list[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        return [(path, command)]
    return [leaf for name, one in below.items() for leaf in _leaves(f"{path} {name}", one)]


def _usage(path: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    words = ["bitmill", path, "[OPTIONS]"]
    for one in arguments:
        name = one.metavar or one.name.upper() + ("..." if one.nargs == -1 else "")
        words.append(name if one.required else f"[{name}]")
    return f"```text\n{' '.join(words)}\n```"


def _options(command: Any) -> str:
    rows = [
        f"| {_name(one)} | {_takes(one)} | {_default(one)} | {_cell(one.help or '')} |"
        for one in command.params
        if one.name != "help" and not one.hidden
    ]
    return "\n".join(["| option | takes | default | meaning |", "|---|---|---|---|", *rows]) if rows else ""


def _name(option: Any) -> str:
    if option.param_type_name == "argument":
        return f"`{_cell(option.metavar or option.name.upper())}`"
    return ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))


def _takes(option: Any) -> str:
    kind = option.type_descriptor.annotation
    is_list = get_origin(kind) is list
    if is_list:
        (kind,) = get_args(kind)
    if kind is bool:
        return "nothing"
    if get_origin(kind) is Literal:
        told = ", ".join(f"`{value}`" for value in get_args(kind))
    elif issubclass(kind, Enum):
        told = ", ".join(f"`{value}`" for value in kind)
    else:
        told = _WORDS.get(kind, option.metavar or kind.__name__.lower())
    return f"{_cell(told)}; several" if is_list else _cell(told)


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.default in (None, False, "") or callable(option.default):
        return ""
    return f"`{option.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _link(page: re.Match[str]) -> str:
    return f"[{page[1]}]({page[1]}.md)"


def _key_row(key: Any) -> str:
    default = "required" if key.default is None else f"`{key.default}`"
    meaning = _PAGE.sub(_link, _cell(key.meaning))
    return f"| `{key.name}` | {_cell(key.kind)} | {default} | {meaning} |"


def keys() -> str:
    """Every key of a job file and of both training files."""
    from bitmill.schemas.requests.job import JobSpec
    from bitmill.schemas.requests.keys import keys_of
    from bitmill.schemas.requests.token_training import TokenTrainSpec
    from bitmill.schemas.requests.training import TrainSpec

    parts: list[str] = []
    for title, model in (
        ("Job file (`bitmill tokenize`)", JobSpec),
        ("Training file of a tokenizer (`bitmill train`)", TrainSpec),
        ("Training file of a token model (`bitmill train`)", TokenTrainSpec),
    ):
        table = ["| key | takes | default | meaning |", "|---|---|---|---|", *map(_key_row, keys_of(model))]
        parts += [f"## {title}", "\n".join(table)]
    return "\n\n".join(parts)
