# The newest long-term support release of Node, pinned.
ARG NODE_IMAGE=node:26.10.0-trixie-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY client/package.json client/
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY types types
COPY gen gen
COPY client/src client/src
COPY src src
RUN npx tsc --build tsconfig.build.json && chmod +x dist/src/main.js

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Without the embedded PostgreSQL: in production DATABASE_URL names a real one. Without the client's package: what the
# service needs of it is compiled into it.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --workspaces=false

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    HOST=:: \
    DATA_DIR=/var/lib/stats-service \
    LAME_DUCK_MS=5000
# LAME_DUCK_MS: balancers find out by their checks that an instance is going, and must have found out when its port closes.
WORKDIR /app
# The second for `docker exec`: commands are then called as the documents call them.
RUN install -d -o node -g node "$DATA_DIR" && ln -s /app/dist/src/main.js /usr/local/bin/stats-service
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY migrations migrations
COPY web web
COPY --from=build /app/dist dist
# By number (it is node's): an orchestrator that is to refuse root cannot tell who a name is.
USER 1000:1000
# Holds the spool: events that PostgreSQL could not take. Keep it across restarts.
VOLUME /var/lib/stats-service
EXPOSE 3000 3001
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["node", "-e", "require('node:http').get('http://127.0.0.1:' + (process.env.ADMIN_PORT || 3001) + '/healthz', (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# In exec form and without npm, so that SIGTERM reaches the service itself.
ENTRYPOINT ["node", "--enable-source-maps", "dist/src/main.js"]
CMD ["serve"]
