/** Clients that send requests as they are told, right or wrong, and report the answers so that two can be compared. */
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { type Framing, type Http1Request, piecesOf, type RpcRequest } from "./rpc-requests.js";

/** Bytes, a character each, in the pieces in which they are to be sent. */
export function http1Bytes(request: Http1Request): string[] {
  const { method, path, version, host, headers, body, framing } = request;
  const pieces = piecesOf(request).map((piece) => piece.toString("latin1"));
  const lengths: Record<Framing, string[]> = {
    length: [`Content-Length: ${body.length}`],
    chunked: ["Transfer-Encoding: chunked"],
    both: [`Content-Length: ${body.length}`, "Transfer-Encoding: chunked"],
    longer: [`Content-Length: ${body.length + 3}`],
  };
  const head = [
    `${method} ${path} HTTP/${version}`,
    ...host.map((value) => `Host: ${value}`),
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...lengths[framing],
    "\r\n",
  ].join("\r\n");
  if (framing !== "chunked" && framing !== "both") {
    return [head, ...pieces];
  }
  return [head, ...pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`), "0\r\n\r\n"];
}

/**
 * Sends `pieces` over one connection, each in a turn of its own, and resolves with all that came back until the server
 * closed it (over TLS, where a certificate is trusted), in a form that leaves out what may differ: the order of header fields, the date, and where chunks are cut.
 */
export async function exchangeHttp1(
  port: number,
  pieces: readonly string[],
  thenEnd: boolean,
  ca?: string,
): Promise<string> {
  const target = { port, host: "127.0.0.1", noDelay: true };
  const socket = ca === undefined ? connectTcp(target) : connectTls({ ...target, ca });
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  // A server that has closed the connection does not care for what is still sent.
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  for (const piece of pieces) {
    socket.write(piece, "latin1");
    await nextTurn();
  }
  if (thenEnd) {
    socket.end();
  }
  await closed;
  return joinChunks(received).replace(/HTTP\/1\.1 \d{3} [\s\S]*?\r\n\r\n/g, (head) => {
    const [status, ...fields] = head.trimEnd().split("\r\n");
    return `\n${[status, ...fields.filter((field) => !/^date:/i.test(field)).sort()].join("\n")}\n\n`;
  });
}

/** The pieces of each chunked body put together: how a server cuts them is its own affair. */
function joinChunks(received: string): string {
  const parts: string[] = [];
  let rest = received;
  for (;;) {
    const head = /Transfer-Encoding: chunked\r\n(?:[^\r\n]+\r\n)*\r\n/i.exec(rest);
    if (head === null) {
      return parts.join("") + rest;
    }
    let offset = head.index + head[0].length;
    parts.push(rest.slice(0, offset));
    for (;;) {
      const size = /^([0-9a-f]+)\r\n/i.exec(rest.slice(offset));
      const length = Number.parseInt(size?.[1] ?? "", 16);
      if (size === null || !(length > 0)) {
        break;
      }
      const from = offset + size[0].length;
      parts.push(rest.slice(from, from + length));
      offset = from + length + "\r\n".length;
    }
    rest = rest.slice(offset);
  }
}

/** What came back on a stream. */
export interface Http2Answer {
  readonly headers: IncomingHttpHeaders | undefined;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly error: string | undefined;
}

/** Sends a request on a session, each piece of the body in a turn of its own; `thenEnd` ends it. */
export async function exchangeHttp2(
  session: ClientHttp2Session,
  request: RpcRequest,
  thenEnd = true,
): Promise<Http2Answer> {
  const fields: Record<string, string> = {};
  for (const [name, value] of request.headers) {
    fields[name] = value;
  }
  const pieces = piecesOf(request);
  const stream = session.request(
    { ...fields, ":method": request.method, ":path": request.path },
    { endStream: thenEnd && pieces.length === 0 },
  );
  let headers: IncomingHttpHeaders | undefined;
  let trailers: IncomingHttpHeaders | undefined;
  let error: string | undefined;
  const body: Buffer[] = [];
  stream.on("response", (received) => {
    delete received.date;
    headers = received;
  });
  stream.on("trailers", (received) => {
    trailers = received;
  });
  stream.on("data", (chunk: Buffer) => body.push(chunk));
  stream.on("error", (reason: Error) => {
    error = reason.message;
  });
  stream.once("end", () => stream.end());
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  for (const [i, piece] of pieces.entries()) {
    if (stream.writable) {
      if (thenEnd && i === pieces.length - 1) {
        stream.end(piece);
      } else {
        stream.write(piece);
        await nextTurn();
      }
    }
  }
  await closed;
  return { headers, body: Buffer.concat(body).toString("latin1"), trailers, error };
}

/** Runs `work` on a session of its own. */
export async function withSession<T>(
  url: string,
  work: (session: ClientHttp2Session) => Promise<T>,
  ca?: string,
): Promise<T> {
  const session = connect(url, { ca });
  session.on("error", () => {});
  try {
    return await work(session);
  } finally {
    session.destroy();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
