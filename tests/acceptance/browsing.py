"""A person at the admin without a browser: logs in, follows links, fills in forms as they stand, presses buttons."""

import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any

PATIENCE = 30.0
"""Seconds for one page."""


@dataclass
class Form:
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    """As a browser would send them."""
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of a select: label → value."""

    def has(self, *names: str) -> bool:
        return set(names) <= {name for name, _ in self.fields} | self.choices.keys()


@dataclass
class Page:
    url: str
    status: int
    text: str
    links: list[str] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """What a form was refused for."""
        return [_words(one) for one in re.findall(r"<ul[^>]*errorlist.*?</ul>", self.text, re.DOTALL)]

    @property
    def words(self) -> str:
        """What a person reads."""
        return _words(self.text)

    def form(self, *names: str) -> Form:
        """The one with these fields."""
        return next(form for form in self.forms if form.has(*names))


def _words(html: str) -> str:
    return " ".join(re.sub(r"<script.*?</script>|<[^>]+>", " ", html, flags=re.DOTALL).split())


class Visitor:
    def __init__(self, url: str) -> None:
        self._url = url
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def log_in(self, username: str, password: str) -> Page:
        page = self.open("/admin/")
        return self.submit(page, page.form("username", "password"), username=username, password=password)

    def open(self, path: str) -> Page:
        return self._request(urllib.parse.urljoin(self._url, path))

    def submit(self, page: Page, form: Form, **changed: str) -> Page:
        """The form as it stands, but for what is changed; an empty text takes a field out, as an unticked box."""
        fields = [(name, value) for name, value in form.fields if name not in changed]
        fields += [(name, value) for name, value in changed.items() if value]
        return self._request(urllib.parse.urljoin(page.url, form.action), urllib.parse.urlencode(fields).encode())

    def _request(self, url: str, data: bytes | None = None) -> Page:
        headers = {"Referer": url} if data else {}
        try:
            with self._opener.open(urllib.request.Request(url, data, headers), timeout=PATIENCE) as answer:
                page = Page(answer.url, answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Page(url, error.code, error.read().decode())
        reader = _Reader(page)
        reader.feed(page.text)
        return page


class _Reader(HTMLParser):
    """Fills in the links and forms of a page."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page
        self._form: Form | None = None
        self._select = self._option = self._textarea = ""
        self._label = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named: dict[str, Any] = {name: value or "" for name, value in attributes}
        name = named.get("name", "")
        if tag == "a" and named.get("href"):
            self._page.links.append(named["href"])
        elif tag == "form":
            self._form = Form(named.get("action", ""))
            self._page.forms.append(self._form)
        elif self._form is None or (not name and tag != "option"):
            return
        elif tag == "input" and named.get("type") not in ("submit", "button", "image", "file"):
            ticks = named.get("type") in ("checkbox", "radio")
            if not ticks or "checked" in named:
                self._form.fields.append((name, named.get("value", "on" if ticks else "")))
        elif tag == "select":
            self._select = name
            self._form.choices[name] = {}
        elif tag == "option" and self._select:
            self._option, self._label = named.get("value", ""), ""
            if "selected" in named:
                self._form.fields.append((self._select, self._option))
        elif tag == "textarea":
            self._textarea, self._label = name, ""

    def handle_data(self, data: str) -> None:
        self._label += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif self._form is not None and tag == "option" and self._select:
            self._form.choices[self._select][self._label.strip()] = self._option
        elif tag == "select":
            self._select = ""
        elif self._form is not None and tag == "textarea" and self._textarea:
            self._form.fields.append((self._textarea, self._label.removeprefix("\n")))
            self._textarea = ""
