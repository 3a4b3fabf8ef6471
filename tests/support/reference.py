"""Generates the reference from the code: run as a program, it writes the parts between marks in the pages.

A part begins with `<!-- made: NAME -->`, is made by `MADE[NAME]`, and ends with `<!-- end -->`. The rest is
written by hand.
"""

from __future__ import annotations

import ast
import html
import inspect
import json
import re
import signal
from typing import TYPE_CHECKING, Any

import click

import target_sprinto.errors
import target_sprinto.receipts.errors  # noqa: F401 - its classes are part of the error tree
from target_sprinto.cli import app
from target_sprinto.push.errors import EX_TEMPFAIL, Interrupted, SprintoError
from target_sprinto.receipts.document import published_schema
from target_sprinto.singer.target import SprintoTarget
from tests.support import settings_table
from tests.support.commands import DOCS, ROOT
from tests.support.endings import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = sorted((DOCS / "reference").glob("*.md"))

_MADE = re.compile(r"(<!-- made: (\w+) -->\n\n).*?(?=<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """A page with the generated parts between its marks."""
    return _MADE.sub(lambda found: found[1] + MADE[found[2]]().rstrip("\n") + "\n\n", page)


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is the header."""
    head, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def settings() -> str:
    """A section for each setting, as `target-sprinto --about` describes it."""
    return settings_table.sections(settings_table.about()["settings"])


# Commands


def commands() -> str:
    """Both programs, from their `--help`."""
    group = app.main
    message = [
        command("target-sprinto", SprintoTarget.get_singer_command(), 2),
        command("sprintoctl", group, 2),
    ]
    for name, one in sorted(group.commands.items()):
        message.append(command(f"sprintoctl {name}", one, 3))
        if isinstance(one, click.Group):
            inner = sorted(one.commands.items())
            message += [command(f"sprintoctl {name} {part}", below, 4) for part, below in inner]
    return "\n\n".join(message)


def command(name: str, described: click.Command, level: int) -> str:
    # A command inherits the group's defaults.
    settings = app.main.context_settings if name.startswith("sprintoctl") else {}
    context = click.Context(described, info_name=name, **settings)
    usage = " ".join([name, *described.collect_usage_pieces(context)])
    parameters = [one for one in described.get_params(context) if isinstance(one, click.Option)]
    records = [one.get_help_record(context) for one in parameters]
    options = [(code(words), prose(meaning.replace("  ", " "))) for words, meaning in filter(None, records)]
    text, *examples = re.split("Examples?:", help_text(described), maxsplit=1)
    parts = [f"{'#' * level} {name}", f"```text\n{usage}\n```", prose(" ".join(text.split()))]
    for block in examples:
        typed = "\n".join(line.strip() for line in block.strip().splitlines())
        parts.append(f"<!-- not run: examples; the guides run each command -->\n```sh\n{typed}\n```")
    return "\n\n".join([*parts, table(("option", "meaning"), *options)])


def help_text(described: click.Command) -> str:
    """The text of its `--help`."""
    return f"{described.help or ''}\n{described.epilog or ''}".replace("\b", "")


def code(text: str) -> str:
    """Text as code; `|` is escaped so that every Markdown parser keeps it in its cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def prose(text: str) -> str:
    """Escape what Markdown would interpret as a link or a tag."""
    return re.sub(r"[\[\]]", lambda found: f"\\{found[0]}", html.escape(text, quote=False))


# How a run ends


def exit_codes() -> str:
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return table(
        ("exit code", "meaning"),
        ("0", "success; see the table below"),
        (
            "1",
            "a person must do something; stderr ends with one line that says what, and a [code](errors.md)",
        ),
        (
            str(EX_TEMPFAIL),
            "`EX_TEMPFAIL`: a later run may succeed with nothing changed; the line and the code say why",
        ),
        (str(click.UsageError.exit_code), "the command line itself is wrong: nothing was done"),
        *((str(128 + number), f"{number.name}, the first signal of the run") for number in signals),
    )


def endings() -> str:
    rows = [(one.what, str(one.exit_code), one.session, one.singer_state) for one in ENDINGS]
    return table(("what happened", "exit", "the session", "STATE on stdout"), *rows)


# Errors


def all_errors(root: type[SprintoError] = SprintoError) -> Iterator[type[SprintoError]]:
    """The tree of the package's errors, from its root."""
    if root.__module__.startswith("target_sprinto."):
        yield root
    # Not in import order, which depends on the caller.
    for leaf in sorted(
        root.__subclasses__(), key=lambda leaf: (leaf.__module__, inspect.getsourcelines(leaf)[1])
    ):
        yield from all_errors(leaf)


def _place(error: type[SprintoError]) -> tuple[str, int]:
    return error.__module__, inspect.getsourcelines(error)[1]


def errors() -> str:
    message: dict[str, tuple[str, str]] = {}
    for error in all_errors():
        # The first class with a code describes it; others are special cases.
        message.setdefault(error.code, (_exit(error), (error.__doc__ or "").partition("\n")[0]))
    rows = [(f"[`{code}`](#{code})", exits, prose(meaning)) for code, (exits, meaning) in message.items()]
    return table(("code", "exit", "meaning"), *rows)


def _exit(error: type[SprintoError]) -> str:
    if error is Interrupted:
        return "128 + signal"
    return {False: "1", True: str(EX_TEMPFAIL), None: f"1 or {EX_TEMPFAIL}"}[error.temporary]


# Lines on stderr


def lines() -> str:
    """One row for each call of a logger in the package."""
    found = sorted({line for module in ROOT.glob("target_sprinto/**/*.py") for line in _logged(module)})
    order = ["error", "warning", "info", "debug"]
    found.sort(key=lambda line: order.index(line[0]))
    rows = [(level.upper(), f"`{logger}`", prose(text)) for level, logger, text in found]
    return table(("level", "logger", "line"), *rows)


def _logged(module: Path) -> Iterator[tuple[str, str, str]]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    named = re.search(r'getLogger\((__name__|"[^"]+")\)', module.read_text(encoding="utf-8"))
    own = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    log = "" if named is None else own if named[1] == "__name__" else named[1].strip('"')
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        logger = ast.unparse(call.func.value)
        if call.func.attr in {"debug", "info", "warning", "error"} and logger.endswith(("log", "logger")):
            text = str(ast.literal_eval(call.args[0]))
            for argument in call.args[1:]:
                text = re.sub(r"%(?:\.\d)?[sdfr]", f"{{{_name(argument)}}}", text, count=1)
            yield call.func.attr, log if logger == "log" and log else "target-sprinto", text


def _name(argument: ast.expr) -> str:
    """The code's name for a value in a log line."""
    match argument:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Call(func=ast.Name(id=name)):
            return name.lstrip("_")
        case _:
            return "…"


# The receipt


def receipt() -> str:
    parts = published_schema()["$defs"]
    return "\n\n".join(_part(name, part) for name, part in parts.items())


def _part(name: str, part: dict[str, Any]) -> str:
    rows = [
        (f"`{field}`", _kind(schema), prose(_description(schema)))
        for field, schema in part["properties"].items()
    ]
    return f"## {name}\n\n{part['description']}\n\n{table(('field', 'type', 'meaning'), *rows)}"


def _description(schema: dict[str, Any]) -> str:
    inner = (one.get("description", "") for one in schema.get("anyOf", []))
    return schema.get("description") or next(filter(None, inner), "")


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("type") == "object":
        return f"object: name to {_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "any JSON"))


MADE = {made.__name__: made for made in (settings, commands, exit_codes, endings, errors, lines, receipt)}

if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
