"""The page: HTML with the styles, the scripts and the data in it. It requests nothing, and its policy forbids it to."""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from trainer.report.settings import Row


class Section(NamedTuple):
    """A part of the page with a heading: its id, the text of the heading, and the HTML below it."""

    name: str
    heading: str
    content: str


def page(title: str, subtitle: str, sections: Sequence[Section], data: Mapping[str, Any], library: str) -> str:
    """The whole page.

    Args:
        title: what the page is about, as plain text.
        subtitle: what stands below the title, as plain text.
        sections: the parts of the page.
        data: the plots and the map, for page.js.
        library: the script of the plotting library.

    Returns:
        HTML. A browser runs only the two scripts of the page, as their hashes are in its policy.
    """
    script = _file("page.js")
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {_hash(library)} {_hash(script)}"
    )
    contents = "".join(f'<li><a href="#{each.name}">{text(each.heading)}</a></li>' for each in sections)
    parts = "".join(
        f'<section id="{each.name}"><h2>{text(each.heading)}</h2>{each.content}</section>\n' for each in sections
    )
    values = {
        "POLICY": policy,
        "TITLE": text(title),
        "SUBTITLE": text(subtitle),
        "STYLE": _file("page.css"),
        "CONTENTS": contents,
        "SECTIONS": parts,
        "DATA": json_for_html(data),
        "LIBRARY": library,
        "SCRIPT": script,
    }
    pieces = _file("page.html").split("@@")  # every other piece is the name of a value
    return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def text(value: object) -> str:
    """A value as text in HTML, also within an attribute."""
    return html.escape(str(value))


def json_for_html(values: object) -> str:
    """JSON that may stand in a script element: it has no `<`, so nothing in it ends the element."""
    found = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def paragraph(value: str) -> str:
    """A paragraph of plain text; nothing if there is none."""
    return f"<p>{text(value)}</p>" if value else ""


def note(value: str) -> str:
    """A paragraph that says what is missing; nothing if there is none."""
    return f'<p class="note">{text(value)}</p>' if value else ""


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Numbers in a grid, each with what it is."""
    return '<dl class="tiles">' + "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts
    ) + "</dl>"  # fmt: skip


def table(rows: Iterable[tuple[str, str]], heading: Sequence[str] = ()) -> str:
    """A table of names and values, which scrolls by itself if it is too wide."""
    head = "<thead><tr>" + "".join(f'<th scope="col">{text(each)}</th>' for each in heading) + "</tr></thead>"
    body = "".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows)
    return f'<div class="scroll" tabindex="0"><table>{head if heading else ""}<tbody>{body}</tbody></table></div>'


def settings(rows: Iterable[Row]) -> str:
    """A table of settings, in which those that are no defaults stand out."""
    body = "".join(
        f'<tr{"" if row.is_default or row.default is None else " class=changed"}><th scope="row">{text(row.name)}</th>'
        f"<td>{_value(row.value)}</td><td>{'' if row.default is None else _value(row.default)}</td></tr>"
        for row in rows
    )
    head = '<tr><th scope="col">setting</th><th scope="col">value</th><th scope="col">default</th></tr>'
    return f'<div class="scroll" tabindex="0"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def bullets(values: Sequence[str]) -> str:
    """A list of sentences; nothing if there are none."""
    return "<ul>" + "".join(f"<li>{text(value)}</li>" for value in values) + "</ul>" if values else ""


def code(value: str) -> str:
    """A command to copy."""
    return f'<pre class="scroll" tabindex="0"><code>{text(value)}</code></pre>'


def plots(found: Sequence[Mapping[str, Any]]) -> str:
    """The places of plots, which page.js draws."""
    return '<div class="plots">' + "".join(
        f'<figure><figcaption>{text(each["title"])}</figcaption><div class="plot" id="plot-{text(each["name"])}" '
        f'role="img" aria-label="{text(each["title"])}"></div>{note(each.get("note", ""))}</figure>'
        for each in found
    ) + "</div>"  # fmt: skip


def cards(found: Iterable[tuple[str, str, Sequence[tuple[str, float]]]]) -> str:
    """Words with their neighbours: for each the word, a remark, and its neighbours with their cosines."""
    return '<div class="cards">' + "".join(
        f'<div class="card"><h4>{text(word)} <small>{text(remark)}</small></h4><ol>'
        + "".join(
            f'<li><span>{text(neighbour)}</span><meter min="0" max="1" value="{max(0.0, cosine):.3f}"></meter>'
            f"<b>{cosine:.2f}</b></li>"
            for neighbour, cosine in neighbours
        )
        + "</ol></div>"
        for word, remark, neighbours in found
    ) + "</div>"  # fmt: skip


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return text(" ".join(map(str, value)))
    return text(value) if value != "" else "<i>none</i>"


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
