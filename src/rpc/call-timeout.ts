/** Reads the time that callers give a call; it starts no timer. */
import {
  headerTimeout as connectTimeoutHeader,
  parseTimeout as parseConnect,
} from "@connectrpc/connect/protocol-connect";
import {
  headerTimeout as grpcTimeoutHeader,
  parseTimeout as parseGrpc,
} from "@connectrpc/connect/protocol-grpc";
import { TIMER_MAX_MS } from "../util/clock.js";

/** Milliseconds; undefined: no limit; "malformed": the protocol has an error for it. */
export type CallTimeout = number | undefined | "malformed";

type Parse = typeof parseConnect;

function read(parse: Parse, value: string): CallTimeout {
  const { timeoutMs, error } = parse(value, Number.MAX_SAFE_INTEGER);
  if (error !== undefined) {
    return "malformed";
  }
  return timeoutMs !== undefined && timeoutMs > TIMER_MAX_MS ? undefined : timeoutMs;
}

/** What the header Connect-Timeout-Ms says. */
export function readConnectTimeout(value: string | undefined): CallTimeout {
  return value === undefined ? undefined : read(parseConnect, value);
}

/** What the header Grpc-Timeout says. */
export function readGrpcTimeout(value: string | undefined): CallTimeout {
  return value === undefined ? undefined : read(parseGrpc, value);
}

/**
 * Removes a time-out that is longer than a timer can be. connect hands it to a timer as it is, and so the call's
 * time would be over at once.
 */
export function forgetEndlessTimeout(header: Headers): void {
  const connect = header.get(connectTimeoutHeader);
  if (connect !== null && readConnectTimeout(connect) === undefined) {
    header.delete(connectTimeoutHeader);
  }
  const grpc = header.get(grpcTimeoutHeader);
  if (grpc !== null && readGrpcTimeout(grpc) === undefined) {
    header.delete(grpcTimeoutHeader);
  }
}
