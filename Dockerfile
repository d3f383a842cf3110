# The gateway's image: Node.js, the libraries that it links, the gateway, and nothing else; no shell, no package manager.
#
# The base is any image of Debian's kind with npm. Its digest belongs to the build, not here: CI resolves and records it.
ARG BASE=node:26-bookworm-slim

FROM ${BASE} AS build
WORKDIR /app
COPY .npmrc package.json package-lock.json ./
# Where packages come from another registry, its settings are a secret of the build: --secret id=npmrc,src=FILE
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci --no-audit --no-fund
COPY LICENSE README.md tsconfig.json tsconfig.build.json ./
COPY bin bin
COPY src src
RUN npm run build \
 && npm run --silent sbom >/tmp/sbom.cdx.json \
 && npm prune --omit=dev --no-audit --no-fund

# The root of the image. Node.js is the one of package-lock.json, which the tests ran on, whatever the base has.
RUN install -D --mode=755 "$(readlink -f node_modules/node/bin/node)" /root-of-image/usr/local/bin/node \
 && rm -rf node_modules/node node_modules/node-bin-* node_modules/.cache \
 && cd /root-of-image \
 && for file in /usr/bin/env /etc/ssl/certs/ca-certificates.crt $(ldd usr/local/bin/node /usr/bin/env | sed -nE 's/^(.* => )?[[:space:]]*(\/[^ ]+) .*/\2/p' | sort -u); do \
      install -D --mode="$(stat -Lc %a "$file")" "$(readlink -f "$file")" ".$file"; \
    done \
 && mkdir -p etc tmp data usr/share/doc/relay-gateway \
 && chmod 1777 tmp && chown 65532:65532 data && chmod 700 data \
 && echo 'relay-gateway:x:65532:65532::/app:/nonexistent' >etc/passwd \
 && echo 'relay-gateway:x:65532:' >etc/group \
 && echo 'hosts: files dns' >etc/nsswitch.conf \
 && cp /tmp/sbom.cdx.json usr/share/doc/relay-gateway/ \
 && ln -s /app/bin/relay-gateway.js usr/local/bin/relay-gateway \
 && mkdir app && cp -a /app/LICENSE /app/bin /app/dist /app/node_modules /app/package.json app/

# One start of each shape as the user that will run it: their compiled code is kept, which halves the time of every later one.
FROM scratch AS warm
COPY --from=build /root-of-image /
COPY --from=build --chown=65532:65532 /root-of-image/tmp /app/node_modules/.cache
USER 65532:65532
COPY deploy/image/keep-compiled-code.mjs /tmp/
RUN ["node", "/tmp/keep-compiled-code.mjs"]

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="relay-gateway" \
      org.opencontainers.image.description="An Awala Internet gateway" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /root-of-image /
COPY --from=warm /app/node_modules/.cache /app/node_modules/.cache
# SQLite makes temporary files, and the root is read-only.
ENV PATH=/usr/local/bin:/usr/bin NODE_ENV=production BIND_HOST=0.0.0.0 OPS_BIND_HOST=0.0.0.0 DATA_DIR=/data SQLITE_TMPDIR=/data
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
VOLUME /data
EXPOSE 8080 8081 8082 8090
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["relay-gateway", "health"]
ENTRYPOINT ["relay-gateway"]
CMD ["serve"]
