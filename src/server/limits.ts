/** The bounds of the RPC port and their defaults; enforces none of them itself. */

/** What one connection may cost. A time-out is met within one {@link RpcServerLimits.sweepIntervalMs} of it. */
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
  /**
   * How long a client may hold its half of an HTTP/2 connection after the last stream of a session that we
   * closed, in milliseconds. Default 5,000.
   */
  readonly lingerTimeoutMs: number;
  /** Largest header of one request, in bytes. Default 16,384. */
  readonly maxHeaderBytes: number;
  /** Most open streams of one HTTP/2 session. Default 1,024. */
  readonly maxConcurrentStreams: number;
  /** What a client may send on one HTTP/2 stream before we read it, in bytes. Default 65,535, the protocol's. */
  readonly streamWindowBytes: number;
  /** The same for all streams of one session together. Default 1,048,576. */
  readonly sessionWindowBytes: number;
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

/** The defaults that {@link RpcServerLimits} documents. */
export const DEFAULT_RPC_SERVER_LIMITS: RpcServerLimits = Object.freeze({
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 75_000,
  sessionIdleTimeoutMs: 300_000,
  lingerTimeoutMs: 5_000,
  maxHeaderBytes: 16_384,
  maxConcurrentStreams: 1024,
  streamWindowBytes: 65_535,
  sessionWindowBytes: 1_048_576,
  tcpKeepAliveMs: 60_000,
  sweepIntervalMs: 1_000,
  lateRequestMs: 250,
  closeTimeoutMs: 25_000,
});
