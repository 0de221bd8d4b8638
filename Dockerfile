# syntax=docker/dockerfile:1
# Images of podsearch: `docker build --target cpu .`, `docker build --target gpu .`; docker-compose.yaml builds both.
# The packages that `make` installs and those of requirements-cluster.txt, at the versions in constraints.txt: `make
# hashes` writes them to requirements-image.txt, with the hash of each archive.

ARG PYTHON=3.11-slim-bookworm

# -- What needs a compiler, or is only needed to install ------------------------------------------------------------
FROM python:${PYTHON} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /opt/podsearch

FROM build AS build-cpu
# PyTorch for CPUs: one gigabyte instead of six. Its builds are none of PyPI's, and have no hash here.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements-image.txt constraints.txt ./
COPY deploy/provider deploy/provider
RUN --mount=type=cache,target=/root/.cache/pip \
    awk '/^[^ ]/ {cuda = /^(torch|triton|cuda-.*|nvidia-.*)==/ && !/^nvidia-ml-py==/} !cuda' requirements-image.txt > cpu.txt \
    && pip install --no-deps --require-hashes --requirement cpu.txt \
    && pip install --no-deps --extra-index-url "${TORCH_INDEX}" --constraint constraints.txt torch ./deploy/provider \
    && pip check

FROM build AS build-gpu
# The standard PyTorch, with the CUDA libraries. The driver comes from the host.
COPY requirements-image.txt ./
COPY deploy/provider deploy/provider
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --require-hashes --requirement requirements-image.txt \
    && pip install --no-deps ./deploy/provider \
    && pip check

# -- What runs: no compiler, no root --------------------------------------------------------------------------------
FROM python:${PYTHON} AS runtime
LABEL org.opencontainers.image.title="podsearch" \
      org.opencontainers.image.description="Natural-language podcast search, kept fresh by Airflow"
# libgomp1: for the threads of PyTorch and scikit-learn.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow \
    && install --directory --owner 50000 --group 0 --mode 0775 /var/lib/podsearch /var/lib/models
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/podsearch \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow
WORKDIR /opt/podsearch
HEALTHCHECK --interval=60s --timeout=30s --start-period=90s CMD ["airflow", "db", "check"]
CMD ["airflow", "version"]

FROM runtime AS gpu
COPY --from=build-gpu /opt/venv /opt/venv
COPY . .
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 50000:0

FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY . .
USER 50000:0
