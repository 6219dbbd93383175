/** What a unary method is, apart from the lane that its calls come by; it knows no protocol. */
import type { DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Caller } from "../auth/token-store.js";
import { notesOf } from "./stock-lane.js";

/** What a handler may know of a call besides its message. */
export interface CallContext {
  /** The caller's address in PostgreSQL's binary inet form; no bytes when it is not known. Shared: do not change. */
  readonly address: Uint8Array;
  /** Who calls, once an interceptor has found out; undefined: anyone may call. */
  caller: Caller | undefined;
  /** When the request's header had come, by `Clock.elapsed`. */
  readonly arrivedAt: number;
  /** The header of the answer where a cache may keep that: the call came by HTTP GET. undefined elsewhere. */
  readonly cacheableAnswer?: Headers | undefined;
  /** A header of the request, by its name in lower case; values that came apart are joined with ", ". */
  header(name: string): string | undefined;
  /**
   * For a handler that waits, once: calls `listener` at the caller's deadline, and when the caller leaves before it
   * has its answer; at once if that has happened.
   */
  onAbandoned(listener: () => void): void;
}

/** Answers one call. A plain value is sent at once; what it throws becomes an error as connect's handlers have it. */
export type UnaryHandler<M extends DescMethodUnary> = (
  request: MessageShape<M["input"]>,
  call: CallContext,
) => MessageInitShape<M["output"]> | Promise<MessageInitShape<M["output"]>>;

/**
 * Reads a request in one format. Gives the message that protobuf-es gives, unknown fields aside, or undefined: then it
 * is for protobuf-es to read.
 */
export type RequestDecoder<M extends DescMethodUnary> = (
  bytes: Buffer,
) => MessageShape<M["input"]> | undefined;

/** How messages are written: protobuf's binary format or its JSON. */
export type MessageFormat = "proto" | "json";

/** The decoders that a method has of its own, for requests that generic code takes long to read. */
export type RequestDecoders<M extends DescMethodUnary> = Readonly<
  Partial<Record<MessageFormat, RequestDecoder<M>>>
>;

/** A method with its handler; serves both lanes. */
export interface UnaryMethod {
  readonly desc: DescMethodUnary;
  readonly handle: UnaryHandler<DescMethodUnary>;
  /** Asked first by the fast lane. */
  readonly decoders: RequestDecoders<DescMethodUnary>;
}

/** Where a method is called. */
export function methodPath(desc: DescMethodUnary): string {
  return `/${desc.parent.typeName}/${desc.name}`;
}

/**
 * Does something around each call of a method: measures it, or refuses it by throwing. It must let a plain value
 * through as a plain value, for then the answer leaves at once.
 */
export type UnaryInterceptor = (
  next: UnaryHandler<DescMethodUnary>,
  method: DescMethodUnary,
) => UnaryHandler<DescMethodUnary>;

/** The method with interceptors around its handler; the first is the outermost. */
export function intercept(method: UnaryMethod, interceptors: readonly UnaryInterceptor[]): UnaryMethod {
  const handle = interceptors.reduceRight((next, around) => around(next, method.desc), method.handle);
  return { ...method, handle };
}

/** Pairs a method with a handler, and decoders, of its types. */
export function unaryMethod<M extends DescMethodUnary>(
  desc: M,
  handle: UnaryHandler<M>,
  decoders: RequestDecoders<M> = {},
): UnaryMethod {
  return { desc, handle: handle as UnaryHandler<DescMethodUnary>, decoders };
}

/** Adds a method to connect's router, which is the stock lane. */
export function routeUnaryMethod(router: ConnectRouter, { desc, handle }: UnaryMethod): void {
  router.rpc(desc, (request, context) => {
    const { address, arrivedAt } = notesOf(context.values);
    return handle(request, {
      address,
      caller: undefined,
      arrivedAt,
      cacheableAnswer: context.requestMethod === "GET" ? context.responseHeader : undefined,
      header: (name) => context.requestHeader.get(name) ?? undefined,
      onAbandoned: (listener) => whenAborted(context.signal, listener),
    });
  });
}

function whenAborted(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) {
    listener();
  } else {
    signal.addEventListener("abort", listener, { once: true });
  }
}
