# target-sprinto in a slim image: not root, and content with a read-only file system.
#
#   docker build -t target-sprinto .
#   tap … | docker run -i --rm --read-only --cap-drop ALL --env-file sprinto.env target-sprinto --config ENV
#
# Receipts and rejects need a folder that user 10001 may write to: -v "$PWD/receipts:/work". For another of the two
# programs: --entrypoint sprintoctl.

FROM python:3.13-slim AS build
WORKDIR /build
# uv heeds `exclude-newer` in pyproject.toml, so an image that is built again holds the same versions.
RUN pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml README.md LICENSE ./
COPY target_sprinto ./target_sprinto
RUN uv venv --python /usr/local/bin/python /opt/target-sprinto && \
    uv pip install --python /opt/target-sprinto/bin/python --no-cache --compile-bytecode .

FROM python:3.13-slim
COPY --from=build /opt/target-sprinto /opt/target-sprinto
RUN useradd --system --uid 10001 --no-create-home sprinto
USER 10001
WORKDIR /work
# joblib, far under the SDK, tries to write as it is imported, and warns where it may not.
ENV PATH=/opt/target-sprinto/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 JOBLIB_MULTIPROCESSING=0
ENTRYPOINT ["target-sprinto"]
