"""The documentation agrees with the code."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from chat import errors
from chat.api import access, problems
from chat.diagram import diagram, markdown, table
from chat.errors import ChatRefusal
from chat.execution import ALLOWED, State, Transition
from devtools.chaos.mutations.document import markdown as table_of_guards
from devtools.chaos.mutations.table import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]


def doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def python(*folders: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_the_state_table_of_the_docs_is_the_machines() -> None:
    found = re.search(r"<!-- chat_diagram: begin -->\n(.*)\n<!-- chat_diagram: end -->", doc("architecture.md"), re.S)
    assert found, "docs/architecture.md has lost its markers"
    assert found[1] == markdown(), "put the output of `manage.py chat_diagram` between the markers"


def test_the_table_shows_every_entry_and_nothing_else() -> None:
    shown = {}
    _, _, *rows = table().splitlines()
    for row in rows:
        name, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        shown[Transition(name)] = {
            state: {State(arrival) for arrival in cell.split("/")}
            for state, cell in zip(State, cells, strict=True)
            if cell != "·"
        }
    assert shown == {name: {state: set(to) for state, to in row.items()} for name, row in ALLOWED.items()}


def test_the_diagram_shows_every_change_of_state() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+): ", diagram(), re.M))
    changes = {
        (str(departure), str(arrival))
        for departures in ALLOWED.values()
        for departure, arrivals in departures.items()
        for arrival in arrivals
        if departure is not arrival and departure is not State.N
    }
    assert drawn == changes


def test_every_code_of_a_problem_is_documented() -> None:
    modules = (errors, access, problems)
    refusals = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    codes = {(one.code, one.status) for one in refusals if issubclass(one, ChatRefusal)}
    documented = {(code, int(status)) for code, status in re.findall(r"^\| `(\w+)` \| (\d{3}) \|", doc("api.md"), re.M)}
    assert documented == codes


def test_every_event_of_the_stream_is_documented() -> None:
    timeline = (ROOT / "chat" / "timeline.py").read_text()
    told = set(re.findall(r'yield "(\w+)"', timeline)) | {"message_part", "ready"}
    assert {event for event in told if f"`{event}`" not in doc("api.md")} == set()


def test_every_path_of_the_api_is_documented_and_none_besides() -> None:
    from chat.api import api

    schema = api.get_openapi_schema(path_prefix="")
    short = {"{chat_id}": "{id}", "{message_id}": "{mid}", "{queued_id}": "{qid}"}
    paths = {
        (method.upper(), re.sub(r"{\w+}", lambda name: short[name[0]], path))
        for path, methods in schema["paths"].items()
        for method in methods
    }
    written = re.findall(r"`(GET|POST|PATCH|PUT|DELETE) (/[^?`]*)", doc("api.md").split("## Shapes")[0])
    assert {one for one in written if one[1] not in ("/healthz", "/readyz")} == paths


def test_the_guards_of_the_docs_are_those_of_the_table() -> None:
    shown = doc("guards.md")
    assert shown == table_of_guards(), "put the output of `./dev chaos --mutations --markdown` there"
    guards = re.findall(r"^\| (.+?) \| `(.+?)` \| `", shown, re.M)
    assert guards == [(mutation.guard, mutation.file) for mutation in MUTATIONS]


def settings_read() -> set[str]:
    return set(re.findall(r'\benv\.[a-z]+\(\s*"([A-Z_]+)"', python("config")))


def test_every_setting_is_documented_and_none_besides() -> None:
    assert settings_read(), "the pattern no longer matches how the settings read the environment"
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", doc("settings.md"), re.M)
    assert {name for row in rows for name in re.findall("[A-Z_]+", row)} == settings_read()


def test_every_event_of_the_log_is_documented() -> None:
    logged = set(re.findall(r'log(?:ger)?\.(?:info|warning|error|exception|critical)\(\s*"([^"]+)"', python("chat")))
    logged |= set(
        re.findall(r'log(?:ger)?\.(?:info|warning|error|exception|critical)\(\s*"([^"]+)"', python("chatworker"))
    )
    assert {event for event in logged if f"`{event}`" not in doc("operations.md")} == set()


def test_every_entry_of_the_beat_schedule_is_documented() -> None:
    from chatworker.schedule import entries

    assert {
        entry.name for entry in entries(heartbeat_every=5) if f"| `{entry.name}` |" not in doc("operations.md")
    } == set()


def test_every_directive_of_the_demo_model_is_documented() -> None:
    source = import_module("demomodel").__doc__ or ""
    keywords = {found.split()[0] for found in re.findall(r"^    \[([a-z][a-z ]*)", source, re.M)}
    assert keywords >= {"say", "long", "fail", "stall"}
    assert {word for word in keywords if f"`[{word}" not in doc("demo-model.md")} == set()


def test_every_direct_dependency_has_its_reason() -> None:
    wanted = re.findall(r"^([a-z0-9-]+)", (ROOT / "requirements.in").read_text(), re.M)
    assert {name for name in wanted if not re.search(rf"^\|.*\b{name}\b.*\|", doc("dependencies.md"), re.M)} == set()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []
