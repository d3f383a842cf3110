# Redis for the development environment in tests, where no image registry can be reached.
ARG BASE=debian:12-slim
FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
CMD ["redis-server"]
