/** The RPC port: who may call, what each call passes through, and the servers that answer. */
import { TokenStore } from "../../auth/token-store.js";
import type { Config } from "../../config.js";
import {
  authenticate,
  permit,
  refuse,
  refusesUnknown,
  whyReadingIsClosed,
} from "../../rpc/authentication.js";
import { type CountSource, createCountsMethods } from "../../rpc/counts-methods.js";
import { createFastLane } from "../../rpc/fast-lane/fast-lane.js";
import { BodyLimits, limitWaiting } from "../../rpc/limits.js";
import { RefusedCalls, Rejections } from "../../rpc/rejections.js";
import { createRoutes, createStatsMethods } from "../../rpc/routes.js";
import { PUSHES_ELSEWHERE, QUERIES_ELSEWHERE, servedElsewhere } from "../../rpc/served-elsewhere.js";
import { createRpcDispatcher } from "../../rpc/stock-lane.js";
import type { UnaryInterceptor, UnaryMethod } from "../../rpc/unary-method.js";
import { connectionAddress, trustProxies } from "../../server/caller-address.js";
import { connectionsWithin, openFilesLimit } from "../../server/connection-limit.js";
import { allowOrigins } from "../../server/cors.js";
import { serveCountsPage } from "../../server/counts-page.js";
import { isLoopback } from "../../server/listen.js";
import { RpcServer } from "../../server/rpc-server.js";
import { TlsCertificates } from "../../server/tls-certificates.js";
import { createCallLog } from "../../telemetry/calls.js";
import type { IngestParts } from "./ingest.js";
import { job, part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface RpcParts {
  readonly rejections: Rejections;
  readonly refusedCalls: RefusedCalls;
  /** undefined: anyone may call. */
  readonly tokens: TokenStore | undefined;
  /** undefined: no TLS. */
  readonly tlsCertificates: TlsCertificates | undefined;
  /** Around each call of the API; the first is the outermost. */
  readonly interceptors: readonly UnaryInterceptor[];
  /** The API. */
  readonly methods: readonly UnaryMethod[];
  readonly rpcServer: RpcServer;
}

/** undefined: an edge answers no queries. */
interface Counts {
  readonly countQueries: CountSource | undefined;
}

type Needs = RpcParts & IngestParts & ProcessParts & Counts;

export function rpcParts({ shutdownTimeoutMs }: Pick<Config, "shutdownTimeoutMs">): Registrations<RpcParts> {
  return {
    rejections: part(() => new Rejections()),
    refusedCalls: part(() => new RefusedCalls()),
    tokens: part(createTokenStore),
    tlsCertificates: job(createTlsCertificates),
    interceptors: part(createInterceptors),
    methods: part(createMethods),
    rpcServer: part(createRpcServer, (server) => server.drain(shutdownTimeoutMs)),
  };
}

/** Nobody comes to ask it. */
const NO_COUNTS: CountSource = {
  series: () => Promise.reject(new Error(QUERIES_ELSEWHERE)),
  top: () => Promise.reject(new Error(QUERIES_ELSEWHERE)),
  itemCounts: () => Promise.reject(new Error(QUERIES_ELSEWHERE)),
};

function createTokenStore({ config, clock, logger }: Needs): TokenStore | undefined {
  const { authTokensFile: file } = config;
  return file === undefined ? undefined : new TokenStore({ file, clock, logger });
}

function createTlsCertificates({ config, clock, logger }: Needs): TlsCertificates | undefined {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsClientCaFile: clientCaFile } = config;
  return certFile === undefined || keyFile === undefined
    ? undefined
    : new TlsCertificates({ certFile, keyFile, clientCaFile, clock, logger });
}

/** What watches calls comes first, so that it sees what the others refuse, too. */
function createInterceptors({ metrics, tracing, tokens, logger, clock }: Needs): UnaryInterceptor[] {
  return [
    metrics?.interceptor,
    tracing?.interceptor,
    logger.isLevelEnabled("debug") ? createCallLog({ logger, clock }) : undefined,
    tokens && authenticate(tokens),
  ].filter((interceptor) => interceptor !== undefined);
}

/** All roles have all methods, so that a caller of the wrong one is told where to go. */
function createMethods(needs: Needs): UnaryMethod[] {
  return [...createPushMethods(needs), ...createQueryMethods(needs)];
}

function createPushMethods(needs: Needs): UnaryMethod[] {
  const { config, admission, flusher, rejections, interceptors, tracing } = needs;
  return createStatsMethods({
    admission,
    flusher: tracing?.intake(flusher) ?? flusher,
    rejections,
    interceptors: [
      ...interceptors,
      ...(config.role === "writer" ? [servedElsewhere(PUSHES_ELSEWHERE)] : []),
      permit("push"),
      limitWaiting(),
    ],
  });
}

function createQueryMethods({ config, interceptors, countQueries, tokens, clock }: Needs): UnaryMethod[] {
  const hasTokens = tokens !== undefined;
  const closed = whyReadingIsClosed({
    isLocal: isLoopback(config.host),
    hasTokens,
    isOpen: config.countsAccess === "open",
  });
  const access = closed === undefined ? permit("read") : refuse(closed);
  return createCountsMethods({
    counts: countQueries ?? NO_COUNTS,
    clock,
    hasTokens,
    interceptors: [...interceptors, countQueries === undefined ? servedElsewhere(QUERIES_ELSEWHERE) : access],
  });
}

function createRpcServer({
  config,
  methods,
  health,
  stopping,
  tlsCertificates,
  tokens,
  logger,
  refusedCalls,
  random,
}: Needs): RpcServer {
  const limits = new BodyLimits(config);
  const refusesByHeader = tokens && refusesUnknown(tokens, methods);
  const callerAddress =
    config.trustProxy === undefined
      ? connectionAddress
      : trustProxies(config.trustProxy, config.trustProxyHeader);
  const stock = createRpcDispatcher({
    routes: createRoutes({
      methods,
      health,
      hasReflection: config.reflection,
      stopping: stopping.signal,
    }),
    logger,
    onUnhandled: refusedCalls.add,
    callerAddress,
    limits,
    refusesByHeader,
  });
  const lanes = {
    handler: config.countsPage && config.role !== "edge" ? serveCountsPage(stock, logger) : stock,
    fastLane: createFastLane({ methods, stock, logger, callerAddress, limits, refusesByHeader }),
  };
  return new RpcServer({
    host: config.host,
    port: config.port,
    tls: tlsCertificates,
    ...(config.corsOrigins === undefined ? lanes : allowOrigins(config.corsOrigins, lanes)),
    limits: {
      requestTimeoutMs: config.requestTimeoutMs,
      keepAliveTimeoutMs: config.keepAliveTimeoutMs,
      maxConnectionAgeMs: config.maxConnectionAgeMs,
      maxConnections: connectionsWithin(openFilesLimit(), config.maxConnections, logger),
    },
    logger,
    random,
  });
}
