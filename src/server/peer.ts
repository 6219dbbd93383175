/**
 * Who is at the other end of a request's connection: reads the address once a connection, and never believes a
 * header.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Http2Session } from "node:http2";
import type { Socket } from "node:net";
import { encodeInet } from "../event/inet.js";
import type { NodeServerRequest } from "./rpc-handler.js";

/** The peer of a connection that was gone before its address was read: no bytes. Stored as NULL. */
export const UNKNOWN_PEER = new Uint8Array(0);

// A connection lives for many requests; keyed weakly, so that nothing has to be told when it ends.
const addresses = new WeakMap<object, Uint8Array>();

/** What a request came on: a socket that speaks HTTP/1.1, or an HTTP/2 session; undefined if it is gone. */
export type Connection = Socket | Http2Session | undefined;

/** Tells who sent a request, as `encodeInet` writes an address; {@link UNKNOWN_PEER} if that is not known. */
export type CallerAddress = (connection: Connection, headers: IncomingHttpHeaders) => Uint8Array;

/** The connection of a request. */
export function connectionOf(req: NodeServerRequest): Connection {
  // The compatibility layer's req.socket is a Proxy, a new one for each stream; the session is the same object
  // for all of them.
  return "stream" in req ? req.stream.session : req.socket;
}

/**
 * The remote address of a connection, as `encodeInet` writes it; {@link UNKNOWN_PEER} if it is gone or has no IP
 * address. The array is shared by all requests of the connection: do not change it.
 */
export function connectionAddress(connection: Connection): Uint8Array {
  if (connection === undefined) {
    return UNKNOWN_PEER;
  }
  const known = addresses.get(connection);
  if (known !== undefined) {
    return known;
  }
  // A session that is being torn down has no socket any more, whatever its type says.
  const socket: { remoteAddress?: string | undefined } | undefined =
    "socket" in connection ? connection.socket : connection;
  const address = socket?.remoteAddress;
  if (address === undefined) {
    return UNKNOWN_PEER;
  }
  const bytes = encodeInet(address);
  addresses.set(connection, bytes);
  return bytes;
}
