"""The yardstick: a target as the SDK's template starts one, with one bare POST per 100 records.

Everything that the SDK does for a batch target is left as it is. The template's empty `start_batch` and
`process_record` are left out, so that the SDK's own gather the records; `setup` and `clean_up` hold what the
API wants around the pages. No retries, no checks beyond the status, no waiting for Sprinto's processing.
"""

from __future__ import annotations

from typing import Any

import requests
from singer_sdk import Target
from singer_sdk import typing as th
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.sinks import BatchSink


class PeerSink(BatchSink):
    max_size = 100

    def setup(self) -> None:
        super().setup()
        self._http = requests.Session()
        self._http.headers.update({"api-key": self.config["api_key"], "Content-Type": "application/json"})
        sessions = f"{self.config['api_url']}/v1/integrations/{self.config['integration_id']}/sessions"
        created = self._http.post(sessions, data="{}")
        created.raise_for_status()
        self._session = f"{sessions}/{created.json()['id']}"

    def process_batch(self, context: dict[str, Any]) -> None:
        body = serialize_json({"entities": {self.stream_name: context["records"]}})
        self._http.post(f"{self._session}/entities", data=body.encode()).raise_for_status()

    def clean_up(self) -> None:
        self._http.post(f"{self._session}/close", data='{"status":"apply"}').raise_for_status()
        super().clean_up()


class PeerTarget(Target):
    name = "peer"
    config_jsonschema = th.PropertiesList(
        th.Property("api_url", th.StringType(nullable=False), required=True),
        th.Property("integration_id", th.StringType(nullable=False), required=True),
        th.Property("api_key", th.StringType(nullable=False), required=True, secret=True),
    ).to_dict()
    default_sink_class = PeerSink


if __name__ == "__main__":
    PeerTarget.cli()
