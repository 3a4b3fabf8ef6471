# target-sprinto in a slim image: not root, and content with a read-only file system.
#
#   docker build -t target-sprinto .
#   tap … | docker run -i --rm --init --read-only --cap-drop ALL --env-file sprinto.env target-sprinto --config ENV
#
# Receipts and rejects need a folder of yours: --user "$(id -u):$(id -g)" -v "$PWD/receipts:/work". For the other
# program: --entrypoint sprintoctl. More in docs/docker.md.

# An image that others rely on is built on a digest, which a tag is not:
#   docker build --build-arg "BASE=$(.ci/base-image)" -t target-sprinto .

ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
# `nox -s pins` writes both files; whatever has another hash is not installed.
COPY .ci/tools.txt .ci/image.txt ./
RUN python -m venv /opt/tools && \
    /opt/tools/bin/pip install --no-cache-dir --require-hashes --requirement tools.txt && \
    /opt/tools/bin/uv venv --python /usr/local/bin/python /opt/target-sprinto && \
    /opt/tools/bin/uv pip install --python /opt/target-sprinto/bin/python --no-cache --compile-bytecode \
        --require-hashes --requirement image.txt
COPY pyproject.toml README.md LICENSE ./
COPY target_sprinto ./target_sprinto
RUN /opt/tools/bin/uv build --wheel --build-constraint tools.txt --require-hashes --out-dir dist && \
    /opt/tools/bin/uv pip install --python /opt/target-sprinto/bin/python --no-cache --compile-bytecode \
        --no-deps dist/*.whl

FROM ${BASE}
COPY --from=build /opt/target-sprinto /opt/target-sprinto
RUN useradd --uid 10001 --no-create-home sprinto
USER 10001
WORKDIR /work
# joblib, far under the SDK, tries to write as it is imported, and warns where it may not.
ENV PATH=/opt/target-sprinto/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 JOBLIB_MULTIPROCESSING=0
ENTRYPOINT ["target-sprinto"]
