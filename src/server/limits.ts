/** The bounds of the RPC port and their defaults; enforces none of them itself. */

/** What one connection may cost, and all of them. A time-out is met within one {@link RpcServerLimits.sweepIntervalMs} of it. */
export interface RpcServerLimits {
  /**
   * Longest time, in milliseconds, that a client may take to send a request's header or, over HTTP/2, to
   * complete its greeting (preface and SETTINGS). A connection that sends nothing falls under it. A TLS handshake may
   * take as long again. Default 10,000.
   */
  readonly headersTimeoutMs: number;
  /**
   * Longest time, in milliseconds, that a request may take to arrive, body included; so also the longest life of
   * a call that streams requests. HTTP/1.1 answers 408, HTTP/2 resets the stream. At least
   * {@link headersTimeoutMs}. Default 30,000.
   */
  readonly requestTimeoutMs: number;
  /** How long an HTTP/1.1 connection may wait for its next request, in milliseconds. Default 75,000. */
  readonly keepAliveTimeoutMs: number;
  /** How long an HTTP/2 session may stay without an open stream, in milliseconds. Default 300,000. */
  readonly sessionIdleTimeoutMs: number;
  /** How long nothing may come from an HTTP/2 client before it is pinged, in milliseconds. Default 15,000. */
  readonly pingAfterMs: number;
  /** How long a client may leave that ping unanswered, in milliseconds; then it is cut off. Default 10,000. */
  readonly pingTimeoutMs: number;
  /**
   * How long a client may hold its half of an HTTP/2 connection after the last stream of a session that we
   * closed, in milliseconds. Default 5,000.
   */
  readonly lingerTimeoutMs: number;
  /** Most open connections; further ones are closed at once. Default 10,000. */
  readonly maxConnections: number;
  /**
   * Most open HTTP/2 streams of all sessions together, at 9 KB or more each. Further ones are reset with REFUSED_STREAM,
   * which tells clients that they may try again. A session may have one in any case, and more while it has fewer than
   * are free. Default 8,192.
   */
  readonly maxOpenStreams: number;
  /** Largest header of one request, in bytes. Default 16,384. */
  readonly maxHeaderBytes: number;
  /**
   * Most open streams of one HTTP/2 session; clients wait by themselves before they open more. All that come in one
   * piece are begun in one turn of the event loop, so with thousands one session makes all others wait. Default 128.
   */
  readonly maxConcurrentStreams: number;
  /**
   * What Node's HTTP/2 keeps for one session besides what has been handed on, in bytes: streams, header tables, answers
   * that the client does not read. No new streams are taken beyond it. A multiple of 1,000,000. Default 10,000,000.
   */
  readonly sessionMemoryBytes: number;
  /** Fields of one header. HTTP/1.1 answers 431, HTTP/2 resets the stream. Default 128. */
  readonly maxHeaderFields: number;
  /** Entries of one SETTINGS frame; a longer one ends the session. Default 32. */
  readonly maxSettingsEntries: number;
  /** Frames that break the protocol before the session is ended. Default 100. */
  readonly maxInvalidFrames: number;
  /** Streams that are refused, because too many are open, before the session is ended. Default 100. */
  readonly maxRejectedStreams: number;
  /** What a client may send on one HTTP/2 stream before we read it, in bytes. Default 65,535, the protocol's. */
  readonly streamWindowBytes: number;
  /** The same for all streams of one session together. Default 1,048,576. */
  readonly sessionWindowBytes: number;
  /**
   * How long a connection may be used, in milliseconds, give or take a tenth: then its client is told to open another one,
   * which a balancer may give to another instance. What is in flight is answered. 0: for ever. Default 600,000.
   */
  readonly maxConnectionAgeMs: number;
  /**
   * How long an old HTTP/2 session is used on until no stream is open, and then how long streams may go on in it, in
   * milliseconds. Default 60,000.
   */
  readonly connectionGraceMs: number;
  /** Silence on a connection before TCP asks whether the peer is still there, in milliseconds. Default 60,000. */
  readonly tcpKeepAliveMs: number;
  /** How often the time-outs above are looked at, in milliseconds: no request has a timer. Default 1,000. */
  readonly sweepIntervalMs: number;
  /**
   * How long an idle HTTP/1.1 connection is kept when the server drains, in milliseconds: a request may be on its
   * way already, and is better answered than reset. Default 250.
   */
  readonly lateRequestMs: number;
  /** What `close()` gives the calls in flight, in milliseconds. Default 25,000. */
  readonly closeTimeoutMs: number;
}

/** When a connection that begins at `nowMs` is too old; at random, so that those that began together do not end together. */
export function connectionEnd(
  nowMs: number,
  { maxConnectionAgeMs }: Pick<RpcServerLimits, "maxConnectionAgeMs">,
  random: () => number,
): number {
  return maxConnectionAgeMs === 0
    ? Number.POSITIVE_INFINITY
    : nowMs + maxConnectionAgeMs * (0.9 + 0.2 * random());
}

/** The defaults that {@link RpcServerLimits} documents. */
export const DEFAULT_RPC_SERVER_LIMITS: RpcServerLimits = Object.freeze({
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 75_000,
  sessionIdleTimeoutMs: 300_000,
  pingAfterMs: 15_000,
  pingTimeoutMs: 10_000,
  lingerTimeoutMs: 5_000,
  maxConnections: 10_000,
  maxOpenStreams: 8_192,
  maxHeaderBytes: 16_384,
  maxConcurrentStreams: 128,
  sessionMemoryBytes: 10_000_000,
  maxHeaderFields: 128,
  maxSettingsEntries: 32,
  maxInvalidFrames: 100,
  maxRejectedStreams: 100,
  streamWindowBytes: 65_535,
  sessionWindowBytes: 1_048_576,
  maxConnectionAgeMs: 600_000,
  connectionGraceMs: 60_000,
  tcpKeepAliveMs: 60_000,
  sweepIntervalMs: 1_000,
  lateRequestMs: 250,
  closeTimeoutMs: 25_000,
});
