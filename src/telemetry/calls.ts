/** How calls ended and how long they took: told to listeners, written to the log, counted in a histogram. */
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Logger } from "pino";
import type { Metric } from "prom-client";
import type { CallContext, UnaryInterceptor } from "../rpc/unary-method.js";
import type { Clock } from "../util/clock.js";
import type { MetricDefinition } from "./metric-definitions.js";

/** How a call ended: 0 is OK, the others are Connect's codes, which are gRPC's too. */
export type CallCode = Code | typeof CALL_OK;

export const CALL_OK = 0;

/** Called when a call has its answer, which has not been written yet. It must not throw. */
export type CallEndListener = (call: CallContext, code: CallCode) => void;

/** For example `ok` or `invalid_argument`. */
export function callCodeName(code: CallCode): string {
  return code === CALL_OK ? "ok" : codeToString(code);
}

/** The code that the caller of a call that ended with `error` gets. */
export function callCodeOf(error: unknown): Code {
  return error instanceof ConnectError ? error.code : Code.Internal;
}

/** An interceptor that tells of each call's end; `listen` makes the listener of a method. */
export function onCallEnd(listen: (method: DescMethodUnary) => CallEndListener): UnaryInterceptor {
  return (next, method) => {
    const onEnd = listen(method);
    return (request, call) => {
      let answer: ReturnType<typeof next>;
      try {
        answer = next(request, call);
      } catch (error) {
        onEnd(call, callCodeOf(error));
        throw error;
      }
      if (answer instanceof Promise) {
        return whenSettled(answer, call, onEnd);
      }
      onEnd(call, CALL_OK);
      return answer;
    };
  };
}

async function whenSettled<T>(answer: Promise<T>, call: CallContext, onEnd: CallEndListener): Promise<T> {
  try {
    const message = await answer;
    onEnd(call, CALL_OK);
    return message;
  } catch (error) {
    onEnd(call, callCodeOf(error));
    throw error;
  }
}

export interface CallLogDeps {
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Makes the interceptor. Leave it out of the chain when the level is higher: a line that is not written costs, too. */
export function createCallLog({ logger, clock }: CallLogDeps): UnaryInterceptor {
  return onCallEnd(({ name: method }) => (call, code) => {
    const durationMs = Math.round((clock.elapsed() - call.arrivedAt) * 1e3) / 1e3;
    logger.debug({ method, code: callCodeName(code), durationMs }, "call");
  });
}

const MS_PER_SECOND = 1e3;

/** The calls of one method that ended with one code. */
class CodeDurations {
  /** Calls in each bucket alone, those above the last bound at the end. */
  readonly counts: Float64Array;
  sumMs = 0;
  readonly #boundsMs: Float64Array;

  constructor(boundsMs: Float64Array) {
    this.#boundsMs = boundsMs;
    this.counts = new Float64Array(boundsMs.length + 1);
  }

  observe(ms: number): void {
    const bounds = this.#boundsMs;
    let bucket = 0;
    // Nearly all calls end within the first bound or the second.
    while (bucket < bounds.length && ms > (bounds[bucket] as number)) {
      bucket += 1;
    }
    (this.counts[bucket] as number) += 1;
    this.sumMs += ms;
  }
}

/** By code; a code that has not occurred is undefined. */
type MethodDurations = (CodeDurations | undefined)[];

/** One line of the text format. */
interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** The histogram; {@link CallDurations.metric} is for a registry. */
export class CallDurations {
  readonly #definition: MetricDefinition;
  readonly #bounds: readonly number[];
  readonly #boundsMs: Float64Array;
  readonly #methods = new Map<string, MethodDurations>();

  constructor(definition: MetricDefinition) {
    this.#definition = definition;
    this.#bounds = definition.buckets ?? [];
    this.#boundsMs = Float64Array.from(this.#bounds, (bound) => bound * MS_PER_SECOND);
  }

  /** What a registry asks of a metric. */
  get metric(): Metric {
    const { name, help, type, aggregator } = this.#definition;
    const get = () => Promise.resolve({ name, help, type, aggregator, values: [...this.#samples()] });
    // prom-client's own aggregated registry holds plain objects such as this; its types know only its classes.
    return { name, help, type, aggregator, get } as unknown as Metric;
  }

  /** Measures calls from the time that their header had come. */
  interceptor(clock: Clock): UnaryInterceptor {
    return onCallEnd((method) => {
      const durations = this.#methods.get(method.name) ?? [this.#newCode()];
      this.#methods.set(method.name, durations);
      return (call, code) => {
        (durations[code] ?? this.#addCode(durations, code)).observe(clock.elapsed() - call.arrivedAt);
      };
    });
  }

  #addCode(durations: MethodDurations, code: CallCode): CodeDurations {
    const added = this.#newCode();
    durations[code] = added;
    return added;
  }

  #newCode(): CodeDurations {
    return new CodeDurations(this.#boundsMs);
  }

  *#samples(): Generator<Sample> {
    for (const [method, durations] of this.#methods) {
      for (const [code, ofCode] of durations.entries()) {
        if (ofCode !== undefined) {
          yield* this.#samplesOf({ method, code: callCodeName(code as CallCode) }, ofCode);
        }
      }
    }
  }

  *#samplesOf(labels: Readonly<Record<string, string>>, { counts, sumMs }: CodeDurations): Generator<Sample> {
    const { name } = this.#definition;
    let calls = 0;
    for (const [i, le] of [...this.#bounds, "+Inf"].entries()) {
      calls += counts[i] ?? 0;
      yield { metricName: `${name}_bucket`, labels: { ...labels, le }, value: calls };
    }
    yield { metricName: `${name}_sum`, labels, value: sumMs / MS_PER_SECOND };
    yield { metricName: `${name}_count`, labels, value: calls };
  }
}
