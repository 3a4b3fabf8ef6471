from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from target_sprinto.sandbox import EntityRules, SandboxOptions
from tests.support.bare_api import Api
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api(sandbox: FaultySandbox, integration_id: str) -> Iterator[Api]:
    with Api(sandbox, integration_id) as bare:
        yield bare


def page(sandbox: FaultySandbox) -> str:
    response = requests.get(sandbox.page_url, timeout=5)
    assert response.status_code == 200
    return response.text


def test_an_empty_sandbox_shows_how_to_send() -> None:
    with FaultySandbox() as sandbox:
        text = page(sandbox)
        assert f"{sandbox.base_url}/v1/integrations/demo/sessions" in text
        assert "sandbox-key" not in text


def test_a_sandbox_without_integrations_shows_how_to_send() -> None:
    with FaultySandbox(SandboxOptions(integrations=None)) as sandbox:
        assert "No integration yet" in page(sandbox)


def test_the_page_shows_sessions_events_and_applied_records(api: Api) -> None:
    session_id = api.create(client_reference_id="run 7").json()["id"]
    record = b'{"id": 1.10, "name": "\xc5\x81ukasz", "left": null, "tags": ["s\\u00e4ker", {"n": 2.50}]}'
    api.push_bytes(session_id, b'{"entities": {"Employee": [' + record + b', {"id": 2}]}}')
    api.close(session_id)
    api.wait(session_id, "processed")
    text = page(api.sandbox)
    section = text.split(f"<h2>{api.id}</h2>")[1].split("</section>")[0]
    for shown in (
        session_id[:8],
        "run 7",
        ">processed<",
        "Page accepted",
        f'title="{session_id}"',
        "<th>name</th>",
        ">Łukasz<",
        ">1.10<",
        ">null<",
        "2.50",
        "2 applied",
    ):
        assert shown in section


def test_the_page_shows_why_a_page_was_rejected(api: Api) -> None:
    schema = {"properties": {"name": {"maxLength": 3}}, "required": ["id"]}
    api.sandbox.configure(api.id, entities={"User": EntityRules(schema=schema)})
    session_id = api.create().json()["id"]
    records = [{"id": 1, "name": "too long"}, {"name": "long, too"}, {"id": 3}]
    assert api.push(session_id, User=records).status_code == 400
    text = page(api.sandbox).split(f"<h2>{api.id}</h2>")[1].split("</section>")[0]
    rows = [
        re.sub(r"<[^>]+>|\s+", " ", row).split()[3:]
        for row in text.split("In rejected pages")[1].split("</table>")[0].split("<tr>")[2:]
    ]
    assert rows == [["User", "id", "required", "1"], ["User", "name", "maxLength", "2"]]
    assert text.index("Nothing is applied yet") < text.index("In rejected pages") < text.index(">Sessions ")


def test_the_page_reloads_itself_unless_disabled(sandbox: FaultySandbox) -> None:
    assert '<meta http-equiv="refresh" content="5">' in page(sandbox)
    response = requests.get(f"{sandbox.page_url}&still", timeout=5)
    assert response.status_code == 200
    assert "refresh" not in response.text


def test_all_values_are_escaped(api: Api) -> None:
    session_id = api.create(client_reference_id="<script>1</script>").json()["id"]
    api.push(session_id, **{"<i>": [{"<b>": "<img src=x>", "n": {"<u>": "'\"<u>"}}]})
    api.close(session_id)
    api.wait(session_id, "processed")
    text = page(api.sandbox)
    for raw in ("<script>", "<i>", "<b>", "<img", "<u>"):
        assert raw not in text


def test_only_the_first_rows_are_shown(api: Api) -> None:
    api.deliver(**{f"Type-{api.id}": [{"id": n} for n in range(60)]})
    text = page(api.sandbox)
    assert "60 applied, the first 10 shown" in text


def test_the_page_loads_nothing_from_elsewhere(sandbox: FaultySandbox) -> None:
    response = requests.get(sandbox.page_url, timeout=5)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "<script" not in response.text
    assert "<link" not in response.text


def test_applied_records_as_json(api: Api) -> None:
    api.deliver(User=[{"id": 1}])
    response = api.http.get(f"{api.sandbox.url}/api/sandbox/{api.id}/applied")
    assert response.text == '{"User":[{"id": 1}]}'
    assert api.http.get(f"{api.sandbox.url}/api/sandbox/no-such/applied").status_code == 404


def test_the_page_and_the_data_require_the_key(api: Api) -> None:
    api.deliver(User=[{"id": "only for who has the key"}])
    for path in ("/", f"/api/sandbox/{api.id}/applied"):
        for key in ("", "?key=", "?key=another", "?key=%FF"):
            response = requests.get(f"{api.sandbox.url}{path}{key}", timeout=5)
            assert response.status_code == 401
            assert "only for" not in response.text
            assert "?key=KEY" in response.text
        shown = requests.get(f"{api.sandbox.url}{path}?key={api.sandbox.options.api_key}", timeout=5)
        assert "only for who has the key" in shown.text
    assert requests.get(api.sandbox.page_url, timeout=5).headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:80", "127.0.0.1.attacker.example", "[", ""]
)
def test_another_sites_host_name_is_rejected(api: Api, host: str) -> None:
    paths = [
        "/?key=sandbox-key",
        f"/api/sandbox/{api.id}/applied",
        f"/api/external/push/v1/integrations/{api.id}/status",
    ]
    for path in paths:
        response = api.http.get(f"{api.sandbox.url}{path}", headers={"Host": host})
        assert response.status_code == 421
        assert api.id not in response.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8765"])
def test_local_host_names_are_accepted(api: Api, host: str) -> None:
    assert api.http.get(f"{api.url}/status", headers={"Host": host}).status_code == 200


def test_an_allowed_host_name_is_served() -> None:
    with FaultySandbox(SandboxOptions(hosts=frozenset({"sandbox.example"}))) as sandbox:
        response = requests.get(sandbox.page_url, headers={"Host": "sandbox.example:9"}, timeout=5)
        assert response.status_code == 200


def test_light_mode_counts_but_keeps_nothing() -> None:
    with FaultySandbox(SandboxOptions(light=True, processing_seconds=0)) as sandbox:
        url = f"{sandbox.base_url}/v1/integrations/demo/sessions"
        headers = {"api-key": "sandbox-key"}
        session_id = requests.post(url, headers=headers, timeout=5).json()["id"]
        body: dict[str, Any] = {"entities": {"User": [{}, {}], "Device": [{}]}}
        response = requests.post(f"{url}/{session_id}/entities", json=body, headers=headers, timeout=5)
        assert response.json()["accepted_count_total"] == 3
        close = {"status": "apply"}
        requests.post(f"{url}/{session_id}/close", json=close, headers=headers, timeout=5)
        sandbox.wait_for(lambda running: running.sessions("demo")[0].state == "processed")
        assert sandbox.sessions("demo")[0].accepted_by_entity == {"User": 2, "Device": 1}
        assert sandbox.staged(session_id) == []
        assert sandbox.applied("demo") == {}
        assert {seen.body for seen in sandbox.requests()} == {b""}
        assert "Light mode" in page(sandbox)
