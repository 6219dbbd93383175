/**
 * grpc.reflection, v1 and v1alpha: lets tools such as buf curl and grpcurl call the server without its .proto
 * files; it never touches the services it describes.
 */
import { setMaxListeners } from "node:events";
import type { DescFile, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as ServerReflectionV1 } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { DescriptorIndex } from "./descriptor-index.js";

/** What {@link reflectionRoutes} needs. */
export interface ReflectionRoutesDeps {
  /** The services to describe. Reflection describes itself besides. */
  readonly services: readonly DescService[];
  /** Files that no service imports and tools still need, such as those of error details. */
  readonly files: readonly DescFile[];
  /** Aborts when the server stops: a tool may hold its stream open for as long as it runs. */
  readonly stopping: AbortSignal;
}

/** What a client can ask. The two versions of the protocol have the same messages under different names. */
export type ReflectionQuestion =
  | { case: "listServices" | "fileByFilename" | "fileContainingSymbol"; value: string }
  | { case: "allExtensionNumbersOfType"; value: string }
  | { case: "fileContainingExtension"; value: { containingType: string; extensionNumber: number } }
  | { case: undefined; value?: undefined };

/** What it is told. */
export type ReflectionAnswer =
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/** One reflection stream: answers in order and sends no file twice, except one that is asked for by name. */
export class ReflectionSession {
  readonly #index: DescriptorIndex;
  readonly #services: readonly DescService[];
  readonly #sent = new Set<DescFile>();

  constructor(deps: { readonly index: DescriptorIndex; readonly services: readonly DescService[] }) {
    this.#index = deps.index;
    this.#services = deps.services;
  }

  /** Answers one question; what is not there is an answer too. */
  answer(question: ReflectionQuestion): ReflectionAnswer {
    const index = this.#index;
    switch (question.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: this.#services.map(({ typeName }) => ({ name: typeName })) },
        };
      case "fileByFilename":
        return this.#files(index.fileByName(question.value), `file ${question.value}`);
      case "fileContainingSymbol":
        return this.#files(index.fileBySymbol(question.value), `symbol ${question.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = question.value;
        const file = index.fileByExtension(containingType, extensionNumber);
        return this.#files(file, `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType": {
        const extensionNumber = index.extensionNumbers(question.value);
        return extensionNumber === undefined
          ? failure(Code.NotFound, `not found: message ${question.value}`)
          : { case: "allExtensionNumbersResponse", value: { baseTypeName: question.value, extensionNumber } };
      }
      case undefined:
        return failure(Code.InvalidArgument, "the request asks nothing");
    }
  }

  #files(file: DescFile | undefined, what: string): ReflectionAnswer {
    if (file === undefined) {
      return failure(Code.NotFound, `not found: ${what}`);
    }
    const unsent = [...this.#index.withImports(file)].filter(
      (each) => each === file || !this.#sent.has(each),
    );
    for (const each of unsent) {
      this.#sent.add(each);
    }
    return {
      case: "fileDescriptorResponse",
      value: { fileDescriptorProto: unsent.map((each) => this.#index.encode(each)) },
    };
  }
}

// connect's codes are those of gRPC, which the protocol asks for.
function failure(errorCode: Code, errorMessage: string): ReflectionAnswer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

/** Adds both versions of the reflection service. */
export function reflectionRoutes(router: ConnectRouter, deps: ReflectionRoutesDeps): void {
  const services = [...deps.services, ServerReflectionV1, ServerReflectionV1alpha];
  const files = [...services.map((service) => service.file), ...deps.files];
  const index = new DescriptorIndex({ files });
  // Each open stream listens, and takes its listener away: however many there are, it is no leak to be warned of.
  setMaxListeners(0, deps.stopping);
  async function* serverReflectionInfo<R extends { host: string; messageRequest: ReflectionQuestion }>(
    requests: AsyncIterable<R>,
  ) {
    const session = new ReflectionSession({ index, services });
    for await (const request of untilAborted(requests, deps.stopping)) {
      yield {
        validHost: request.host,
        originalRequest: request,
        messageResponse: session.answer(request.messageRequest),
      };
    }
  }
  router.service(ServerReflectionV1, { serverReflectionInfo });
  router.service(ServerReflectionV1alpha, { serverReflectionInfo });
}

/**
 * What `source` gives until it ends; leaves no listener behind.
 *
 * @throws ConnectError when `signal` aborts
 */
async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let stop: () => void = () => {};
  const stopped = new Promise<"stopped">((resolve) => {
    stop = () => resolve("stopped");
  });
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      const next = signal.aborted ? "stopped" : await Promise.race([iterator.next(), stopped]);
      if (next === "stopped") {
        throw new ConnectError("the service is shutting down, try again", Code.Unavailable);
      }
      if (next.done === true) {
        return;
      }
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
