"""Where a run's data came from, for its receipt: names only, from an allow-list."""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Mapping

from target_sprinto.receipts.document import Provenance

VARIABLES = (
    *("MELTANO_ENVIRONMENT", "MELTANO_EXTRACTOR_NAME", "MELTANO_EXTRACTOR_VARIANT", "MELTANO_LOADER_NAME"),
    *("GITHUB_REPOSITORY", "GITHUB_WORKFLOW", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_SHA"),
    *("CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_ID", "CI_COMMIT_SHA"),
    *("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID"),
)
"""Set by Meltano, GitHub Actions, GitLab CI and Airflow for the programs that they start."""

_NAME = re.compile(r"[\w .,:/@+&#'()\[\]-]{1,200}")


def provenance_of(given: Mapping[str, str]) -> Provenance:
    """The setting `provenance`, the known environment variables, this machine and its user."""
    try:
        # Not `getpass.getuser`, which trusts the environment.
        user = _name(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        # A container may run under a user id that has no name.
        user = None
    named = {variable: _name(os.environ.get(variable)) for variable in VARIABLES}
    return Provenance(
        dict(given),
        {variable: value for variable, value in named.items() if value is not None},
        _name(socket.gethostname()),
        user or str(os.getuid()),
    )


def _name(value: str | None) -> str | None:
    return value if value is not None and _NAME.fullmatch(value) else None
