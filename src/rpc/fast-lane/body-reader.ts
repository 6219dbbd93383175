/** Reads the body of a request whose kind is known; it never judges the message in it. */
import type { IncomingMessage } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { BodyLimits } from "../body-limits.js";
import { RequestBody } from "../request-body.js";

/** Who reads a body. False: the request is for someone else to read, from its first byte. */
export interface BodyReader {
  /** Called when a piece has come. */
  onPiece(body: RequestBody): boolean;
  /** Called when the body is whole. */
  onEnd(bytes: Buffer): boolean;
}

/**
 * Reads the body of an HTTP/1.1 request. `onRefused` is called when the reader refuses, or there is no room; nobody has
 * read from the request then. Nothing is called any more when the body ends early, because the client left.
 *
 * It reads where Node's parser pushes pieces, and null for the end, into the request, which is a stream. The buffers
 * and events of the stream cost two turns of the event loop and a tenth of the time that Node takes for a small
 * request. And what has not been pushed can still be, as if it came only now.
 */
export function readRequestBody(
  request: IncomingMessage,
  reader: BodyReader,
  limits: BodyLimits,
  onRefused: () => void,
): void {
  const body = new RequestBody(request, limits, request.headers["content-length"]);
  const handBack = (...pieces: (Buffer | null)[]): boolean => {
    // The stream's own method shows again.
    Reflect.deleteProperty(request, "push");
    // First the one who reads now, then what there is to read: as it would have been from the start.
    onRefused();
    return pieces.map((piece) => piece?.length === 0 || request.push(piece)).every(Boolean);
  };
  request.push = (piece: Buffer | null): boolean => {
    if (piece === null) {
      const bytes = body.take();
      return reader.onEnd(bytes) || handBack(bytes, null);
    }
    if (!body.add(piece)) {
      return handBack(body.take(), piece);
    }
    return reader.onPiece(body) || handBack(body.take());
  };
}

/**
 * The same for an HTTP/2 stream, by its events: it has often been pushed to before anyone can see it. When
 * `onRefused` is called the stream is paused and has all pieces again, unless `body` is given: then the stream has
 * ended, and that was in it.
 */
export function readStreamBody(
  stream: ServerHttp2Stream,
  contentLength: string | undefined,
  reader: BodyReader,
  limits: BodyLimits,
  onRefused: (body?: Buffer) => void,
): void {
  const body = new RequestBody(stream, limits, contentLength);
  const handBack = (...pieces: Buffer[]): void => {
    stream.off("data", onData).off("end", onEnd).pause();
    for (const piece of pieces.toReversed()) {
      stream.unshift(piece);
    }
    onRefused();
  };
  const onData = (piece: Buffer): void => {
    if (!body.add(piece)) {
      handBack(body.take(), piece);
    } else if (!reader.onPiece(body)) {
      handBack(body.take());
    }
  };
  const onEnd = (): void => {
    const bytes = body.take();
    // A client that resets its stream without an error ends the body, too, wherever it is.
    if (!stream.closed && !reader.onEnd(bytes)) {
      onRefused(bytes);
    }
  };
  stream.on("data", onData).on("end", onEnd);
}
