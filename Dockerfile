# target-sprinto in a slim image: not root, and content with a read-only file system.
#
#   docker build -t target-sprinto .
#   tap … | docker run -i --rm --read-only --env-file sprinto.env target-sprinto --config ENV

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY target_sprinto ./target_sprinto
RUN python -m venv /opt/target-sprinto && /opt/target-sprinto/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/target-sprinto /opt/target-sprinto
RUN useradd --system --uid 10001 --no-create-home sprinto
USER 10001
WORKDIR /work
ENV PATH=/opt/target-sprinto/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["target-sprinto"]
