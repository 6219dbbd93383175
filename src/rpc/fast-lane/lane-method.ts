/** One unary method on the fast lane: decodes, calls and encodes; it knows no HTTP. */
import {
  create,
  type DescMessage,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { createMethodSerializationLookup } from "@connectrpc/connect/protocol";
import { PROTOCOL_OPTIONS } from "../protocol-options.js";
import { type MessageFormat, methodPath, type UnaryMethod } from "../unary-method.js";
import type { LaneCall } from "./fast-lane.js";

/** A request message that has been read. Opaque here: the handler knows its type. */
export type RequestMessage = Parameters<UnaryMethod["handle"]>[0];

/** What becomes of a call. Each is called at most once, and one of them is. */
export interface CallOutcome {
  onMessage(message: Uint8Array): void;
  onError(error: ConnectError): void;
}

/** A method and the formats of its messages. */
export class LaneMethod {
  readonly path: string;
  readonly #input: DescMessage;
  readonly #output: DescMessage;
  readonly #handle: UnaryMethod["handle"];
  readonly #decoders: UnaryMethod["decoders"];
  readonly #serialization: ReturnType<typeof createMethodSerializationLookup>;
  /** The encoding of an answer without fields, which is the same each time; undefined when it has some. */
  readonly #constant: Readonly<Record<MessageFormat, Uint8Array>> | undefined;

  constructor({ desc, handle, decoders }: UnaryMethod) {
    this.path = methodPath(desc);
    this.#input = desc.input;
    this.#output = desc.output;
    this.#handle = handle;
    this.#decoders = decoders;
    this.#serialization = createMethodSerializationLookup(
      desc,
      PROTOCOL_OPTIONS.binaryOptions,
      PROTOCOL_OPTIONS.jsonOptions,
      PROTOCOL_OPTIONS,
    );
    if (desc.output.fields.length === 0) {
      this.#constant = { proto: this.#serialize({}, "proto"), json: this.#serialize({}, "json") };
    }
  }

  /**
   * Reads a message; undefined when the bytes are none, or have a name that is not known. The stock lane then says what
   * is wrong with them.
   */
  decode(bytes: Buffer, format: MessageFormat): RequestMessage | undefined {
    try {
      return this.#decoders[format]?.(bytes) ?? this.#decodeGenerically(bytes, format);
    } catch {
      return undefined;
    }
  }

  #decodeGenerically(bytes: Buffer, format: MessageFormat): RequestMessage | undefined {
    return format === "proto"
      ? fromBinary(this.#input, bytes, PROTOCOL_OPTIONS.binaryOptions)
      : fromJsonString(this.#input, bytes.toString("utf8"), PROTOCOL_OPTIONS.jsonOptions);
  }

  /** Calls the handler. If it answers with a plain value, so does this, before it returns. Never throws. */
  invoke(request: RequestMessage, call: LaneCall, format: MessageFormat, outcome: CallOutcome): void {
    let result: ReturnType<UnaryMethod["handle"]>;
    try {
      result = this.#handle(request, call);
    } catch (error) {
      this.#fail(error, call, outcome);
      return;
    }
    if (isPromise(result)) {
      result.then(
        (message) => this.#succeed(message, call, format, outcome),
        (error: unknown) => this.#fail(error, call, outcome),
      );
    } else {
      this.#succeed(result, call, format, outcome);
    }
  }

  #succeed(
    message: MessageInitShape<DescMessage>,
    call: LaneCall,
    format: MessageFormat,
    outcome: CallOutcome,
  ): void {
    call.end();
    let bytes: Uint8Array;
    try {
      bytes =
        this.#constant !== undefined && isPlain(message)
          ? this.#constant[format]
          : this.#serialize(message, format);
    } catch (error) {
      this.#fail(error, call, outcome);
      return;
    }
    outcome.onMessage(bytes);
  }

  #fail(error: unknown, call: LaneCall, outcome: CallOutcome): void {
    call.end();
    outcome.onError(
      error instanceof ConnectError
        ? error
        : new ConnectError("internal error", Code.Internal, undefined, undefined, error),
    );
  }

  #serialize(message: MessageInitShape<DescMessage>, format: MessageFormat): Uint8Array {
    return this.#serialization.getO(format === "proto").serialize(create(this.#output, message));
  }
}

function isPromise<T extends object>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown }).then === "function";
}

/** Whether a message without fields has no unknown ones either. */
function isPlain(message: MessageInitShape<DescMessage>): boolean {
  return (message as { $unknown?: unknown }).$unknown === undefined;
}
