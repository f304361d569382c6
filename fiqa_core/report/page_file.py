"""The HTML file: a template, a style sheet, a script and the data, all in one, and nothing may be loaded from outside.

Every name from the data is text: Jinja escapes it in the template, and the script only ever sets `textContent`. The
page's own content security policy names the digests of its script and styles, so nothing else in it can run.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fiqa_core.extras import install_extra
from fiqa_core.report.settings import MOST_LABEL, ReportError, ReportSettings
from fiqa_core.wording import visible

_SCRIPTS = ("tiles.js", "review.js", "pages.js", "galleries.js", "border.js", "identities.js", "start.js")


@dataclass(frozen=True)
class Page:
    """settings: title. values: for the template. data: for the script; must be plain JSON."""

    settings: ReportSettings
    values: dict[str, Any]
    data: dict[str, Any]


def render(page: Page) -> bytes:
    """The file.

    Raises:
        ReportError: the template library is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise ReportError(f"a report needs jinja2: {install_extra('report')}") from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    filters: dict[str, Callable[[Any], str]] = {
        "count": "{:,}".format,
        "shown": _shown,
        "number": _number,
        "percent": "{:.1%}".format,
    }
    environment.filters.update(filters)
    script = "\n".join(["(() => {", '"use strict";', *map(_file, _SCRIPTS), "})();"])
    style = _file("report.css")
    html = environment.from_string(_file("report.html")).render(
        **page.values,
        title=visible(page.settings.title),
        policy=_policy(script, style),
        script=script,
        style=style,
        data=_as_json(page.data),
    )
    return html.encode("utf-8", "replace")


def _policy(script: str, style: str) -> str:
    return (
        f"default-src 'none'; img-src data:; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_json(data: dict[str, Any]) -> str:
    """JSON that no HTML parser can end early: `<` and `&` are written as escapes."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _file(name: str) -> str:
    return resources.files("fiqa_core.report").joinpath("page", name).read_text(encoding="utf-8")


def _shown(text: str) -> str:
    """A name from the data: control characters are escaped, and it is shortened."""
    text = str(text)
    return visible(text if len(text) <= MOST_LABEL else text[: MOST_LABEL - 1] + "…")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
