/**
 * The HTTP/2 sessions of a server: bounds their greeting, their request bodies and their idleness, and closes
 * them when the server drains; it never reads or writes a message.
 */
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Clock } from "../util/clock.js";
import { mayTakeMore } from "../util/fair-share.js";
import { connectionEnd, type RpcServerLimits } from "./limits.js";
import { OpenStreams } from "./open-streams.js";

/**
 * Where a session is:
 *
 * - `greeting`: the client's SETTINGS have not come. → `open` when they do; cut at `headersTimeoutMs`.
 * - `open`: takes streams. → `closing` when the server drains, when it had no stream for
 *   `sessionIdleTimeoutMs`, when it is as old as `maxConnectionAgeMs`, or when either side ended the session.
 * - `closing`: GOAWAY is sent, open streams go on. Cut `lingerTimeoutMs` after the last of them, if the client
 *   has not closed the connection by then; for its age, after `connectionGraceMs` in any case.
 *
 * Each ends when the connection does.
 */
type SessionPhase = "greeting" | "open" | "closing";

interface TrackedSession {
  readonly socket: Socket;
  readonly streams: OpenStreams;
  phase: SessionPhase;
  /** When it is too old to be used. */
  readonly endsMs: number;
  /** When it entered `closing`. */
  closingSinceMs: number;
  /** When the phase began or, if later, when a sweep last found a stream or its trace. */
  sinceMs: number;
  /** What had come from the client at the last sweep, in bytes. */
  bytesRead: number;
  /** When a sweep last found that more had come. */
  heardMs: number;
  isPinged: boolean;
}

/** What {@link Http2Sessions} needs. */
export interface Http2SessionsDeps {
  readonly clock: Clock;
  readonly limits: Pick<
    RpcServerLimits,
    | "headersTimeoutMs"
    | "requestTimeoutMs"
    | "sessionIdleTimeoutMs"
    | "lingerTimeoutMs"
    | "sessionWindowBytes"
    | "maxOpenStreams"
    | "maxConnectionAgeMs"
    | "connectionGraceMs"
    | "pingAfterMs"
    | "pingTimeoutMs"
  >;
  /** Gives numbers in [0, 1). */
  readonly random: () => number;
}

/** How often streams are counted, at most, while as many come as may be open. */
const RECOUNTS_MAX = 16;

/**
 * Tracks HTTP/2 sessions and their streams. No stream has a timer, or a listener but for its errors; times are those of
 * the last sweep, so that a request costs no look at the clock either.
 */
export class Http2Sessions {
  readonly #clock: Clock;
  readonly #limits: Http2SessionsDeps["limits"];
  readonly #random: () => number;
  readonly #sessions = new Map<ServerHttp2Session, TrackedSession>();
  #nowMs: number;
  /** Streams of all sessions that were open at the last count, and those that came since. */
  #streamsAtMost = 0;
  /** Those that were open at the last count. */
  #streamsCounted = 0;

  constructor(deps: Http2SessionsDeps) {
    this.#clock = deps.clock;
    this.#limits = deps.limits;
    this.#random = deps.random;
    this.#nowMs = deps.clock.elapsed();
  }

  /** Open sessions. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Takes a session that has just begun on `socket`. */
  add(session: ServerHttp2Session, socket: Socket): void {
    const tracked: TrackedSession = {
      socket,
      streams: new OpenStreams(),
      phase: "greeting",
      endsMs: connectionEnd(this.#clock.elapsed(), this.#limits, this.#random),
      closingSinceMs: 0,
      sinceMs: this.#clock.elapsed(),
      bytesRead: 0,
      heardMs: this.#clock.elapsed(),
      isPinged: false,
    };
    this.#sessions.set(session, tracked);
    // Before Node's own listener, which hands the stream on.
    session.prependListener("stream", (stream) => this.#take(stream, tracked));
    session.once("remoteSettings", () => {
      if (tracked.phase === "greeting") {
        tracked.phase = "open";
        tracked.sinceMs = this.#nowMs;
      }
    });
    session.once("close", () => this.#sessions.delete(session));
    session.setLocalWindowSize(this.#limits.sessionWindowBytes);
  }

  #take(stream: ServerHttp2Stream, { streams }: TrackedSession): void {
    // What a client does to its stream, or we when we refuse it, is no error of ours, at any time.
    stream.on("error", ignore);
    if (!this.#hasRoom(streams)) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    this.#streamsAtMost += 1;
    streams.add(stream, this.#nowMs);
  }

  /**
   * Whether a session may have one stream more: by {@link mayTakeMore}, with counts that may be too high and cost nothing.
   */
  #hasRoom(streams: OpenStreams): boolean {
    if (streams.size < this.#freeAtLeast) {
      return true;
    }
    streams.compact();
    // To count looks at all sessions, so it must be worth it: while most are open, a sweep is soon enough.
    if (this.#streamsAtMost - this.#streamsCounted >= this.#limits.maxOpenStreams / RECOUNTS_MAX) {
      this.#countStreams();
    }
    return mayTakeMore(streams.size, this.#freeAtLeast);
  }

  get #freeAtLeast(): number {
    return this.#limits.maxOpenStreams - this.#streamsAtMost;
  }

  #countStreams(): void {
    this.#streamsAtMost = 0;
    for (const { streams } of this.#sessions.values()) {
      streams.compact();
      this.#streamsAtMost += streams.size;
    }
    this.#streamsCounted = this.#streamsAtMost;
  }

  /** Ends what is over one of its time-outs. */
  sweep(): void {
    this.#nowMs = this.#clock.elapsed();
    this.#countStreams();
    for (const [session, tracked] of this.#sessions) {
      if (session.destroyed && tracked.phase !== "closing") {
        this.#enterClosing(tracked);
      }
      this.#sweepSession(session, tracked);
      this.#sweepSilence(session, tracked);
    }
  }

  #sweepSession(session: ServerHttp2Session, tracked: TrackedSession): void {
    if (tracked.streams.size > 0 && tracked.phase !== "greeting") {
      tracked.sinceMs = this.#nowMs;
    }
    this.#sweepStreams(tracked.streams);
    const quiet = tracked.streams.size === 0;
    const ageMs = this.#nowMs - tracked.sinceMs;
    switch (tracked.phase) {
      case "greeting":
        if (ageMs >= this.#limits.headersTimeoutMs) {
          tracked.socket.destroy();
        }
        return;
      case "open":
        if (this.#isTooOld(tracked, quiet) || (quiet && ageMs >= this.#limits.sessionIdleTimeoutMs)) {
          this.#enterClosing(tracked);
          session.close();
        }
        return;
      case "closing":
        if (
          (quiet && ageMs >= this.#limits.lingerTimeoutMs) ||
          (tracked.endsMs <= this.#nowMs &&
            this.#nowMs - tracked.closingSinceMs >= this.#limits.connectionGraceMs)
        ) {
          tracked.socket.destroy();
        }
    }
  }

  /**
   * Whether a session is to end for its age. A stream that crosses the GOAWAY on its way is refused, and not every client
   * tries such a call again by itself: so while the session is in use, a moment without a stream is waited for.
   */
  #isTooOld({ endsMs }: TrackedSession, quiet: boolean): boolean {
    const overMs = this.#nowMs - endsMs;
    return overMs >= (quiet ? 0 : this.#limits.connectionGraceMs);
  }

  /**
   * Pings a client that has long been silent, and cuts it off if it stays so. When a client breaks the protocol, Node
   * sends GOAWAY and reads from the connection no more: it never learns that the client is gone, and nothing else ends
   * the session. A ping goes unanswered then, too.
   */
  #sweepSilence(session: ServerHttp2Session, tracked: TrackedSession): void {
    const { socket } = tracked;
    const silentMs = this.#nowMs - tracked.heardMs;
    if (socket.bytesRead !== tracked.bytesRead) {
      tracked.bytesRead = socket.bytesRead;
      tracked.heardMs = this.#nowMs;
      tracked.isPinged = false;
    } else if (silentMs >= this.#limits.pingAfterMs + this.#limits.pingTimeoutMs) {
      socket.destroy();
    } else if (silentMs >= this.#limits.pingAfterMs && !tracked.isPinged && !session.destroyed) {
      tracked.isPinged = true;
      session.ping(ignore);
    }
  }

  #sweepStreams(streams: OpenStreams): void {
    streams.compact();
    for (const { stream, cameMs } of streams) {
      if (stream.closed || isAnsweredEarly(stream)) {
        // By NO_ERROR: the client need not send the rest (RFC 9113, section 8.1). A stream that its client has reset by
        // that code stays with Node, and counts among those of the session, as long as what has come is not read.
        stream.destroy();
      } else if (this.#nowMs - cameMs >= this.#limits.requestTimeoutMs && !isReceived(stream)) {
        stream.close(constants.NGHTTP2_CANCEL);
      }
    }
  }

  #enterClosing(tracked: TrackedSession): void {
    tracked.phase = "closing";
    tracked.sinceMs = this.#clock.elapsed();
    tracked.closingSinceMs = tracked.sinceMs;
  }

  /**
   * Sends GOAWAY on each session; each ends with its last open stream. Streams that the client opens before it
   * reads the GOAWAY are beyond the last id that it names, so the client knows that they were not processed.
   */
  drain(): void {
    for (const [session, tracked] of this.#sessions) {
      if (tracked.phase !== "closing") {
        this.#enterClosing(tracked);
        session.close();
      }
    }
  }

  /** Cuts all that is left. */
  destroyAll(): void {
    for (const { socket } of this.#sessions.values()) {
      socket.destroy();
    }
  }
}

function ignore(): void {}

/** Whether all of the stream's request has arrived, read or not. */
function isReceived(stream: ServerHttp2Stream): boolean {
  if (stream.endAfterHeaders || stream.readableEnded || stream.destroyed) {
    return true;
  }
  const state = stream.state.state;
  return (
    state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE ||
    state === constants.NGHTTP2_STREAM_STATE_CLOSED
  );
}

/** Whether the whole answer has gone out, and not all of the request has arrived. */
function isAnsweredEarly(stream: ServerHttp2Stream): boolean {
  // An answer is finished for Node's streams when it may still wait for the client to take it.
  return stream.writableFinished && stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL;
}
