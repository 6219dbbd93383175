/** The handler of StatsService.PushBatch: judges each event, queues those it can, and names the others. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AckMode,
  type PushBatchResponseSchema,
  type RejectionSchema,
  type StatsService,
} from "../../gen/stats/v1/stats_pb.js";
import { type EventInput, type FieldViolation, InvalidEventError } from "../ingest/admission.js";
import type { AdmittedEvent, Batch } from "../ingest/batch.js";
import { QueueFullError } from "../ingest/flusher.js";
import { Rejections } from "../ingest/rejections.js";
import { ackModeFault, whenDurable } from "./ack-mode.js";
import { invalidRejection, queueFullRejection, toConnectError } from "./errors.js";
import type { UnaryHandler } from "./unary-method.js";

/** Judges events without throwing. */
export interface BatchAdmission {
  tryAdmit(input: EventInput, inet: Uint8Array): AdmittedEvent | undefined;
  violations(input: EventInput): FieldViolation[];
}

/** Takes events for the background. */
export interface BatchIntake {
  push(event: AdmittedEvent): Batch;
  requireRoom(rows: number): void;
  durable(batch: Batch): Promise<void>;
}

export interface PushBatchHandlerDeps {
  readonly admission: BatchAdmission;
  readonly flusher: BatchIntake;
  /** Most events in one call. */
  readonly batchMaxEvents: number;
  /** Hears of the events that are refused. Default: nobody reads it. */
  readonly rejections?: Rejections;
}

/** An error names no more fields than this: it travels in headers, which clients bound to a few KiB. */
const VIOLATIONS_MAX = 10;

/** Makes the handler. All events are judged and queued in one step, so a drain cannot come in between. */
export function createPushBatchHandler(
  deps: PushBatchHandlerDeps,
): UnaryHandler<typeof StatsService.method.pushBatch> {
  const { rejections = new Rejections() } = deps;
  return (request, call) => {
    const { events, ack, allOrNothing } = request;
    const intake = new Intake(deps, call.peer);
    try {
      requireSound(events.length, ack, deps.batchMaxEvents);
      const response = allOrNothing ? intake.takeAll(events) : intake.takeEach(events);
      intake.countRejected(rejections);
      return ack === AckMode.DURABLE ? whenDurable(intake.settled(), call.signal(), response) : response;
    } catch (error) {
      intake.countRejected(rejections, error, events.length);
      throw toConnectError(error) ?? error;
    }
  };
}

function requireSound(count: number, ack: AckMode, maxEvents: number): void {
  const faults = [
    count > maxEvents && { field: "events", description: `must be at most ${maxEvents}, not ${count}` },
    ackModeFault(ack),
  ];
  const violations = faults.filter((fault) => typeof fault === "object");
  if (violations.length > 0) {
    throw new InvalidEventError(violations);
  }
}

type PushBatchAnswer = MessageInitShape<typeof PushBatchResponseSchema>;
type Rejection = MessageInitShape<typeof RejectionSchema>;

/** Takes in the events of one call. */
class Intake {
  readonly #admission: BatchAdmission;
  readonly #flusher: BatchIntake;
  readonly #peer: Uint8Array;
  /** Those that the events went into, each once. */
  readonly #batches: Batch[] = [];
  readonly #rejections: Rejection[] = [];
  /** The first violations, for an error. */
  readonly #violations: FieldViolation[] = [];
  #violationCount = 0;
  #invalid = 0;
  #accepted = 0;

  constructor({ admission, flusher }: PushBatchHandlerDeps, peer: Uint8Array) {
    this.#admission = admission;
    this.#flusher = flusher;
    this.#peer = peer;
  }

  /**
   * Takes the events that can be taken.
   *
   * @throws InvalidEventError, QueueFullError, IntakeClosedError when that is none
   */
  takeEach(events: readonly EventInput[]): PushBatchAnswer {
    let full: QueueFullError | undefined;
    for (let index = 0; index < events.length; index++) {
      const input = events[index] as EventInput;
      const event = this.#admission.tryAdmit(input, this.#peer);
      if (event === undefined) {
        this.#reject(index, input);
        continue;
      }
      // Nothing leaves a full queue meanwhile; what comes behind is only judged.
      full ??= this.#push(event);
      if (full !== undefined) {
        this.#rejections.push(queueFullRejection(index, full));
      }
    }
    if (this.#accepted === 0 && events.length > 0) {
      throw full ?? this.#invalidError();
    }
    return this.#answer();
  }

  /**
   * Takes all events.
   *
   * @throws InvalidEventError, QueueFullError, IntakeClosedError when it has taken none
   */
  takeAll(events: readonly EventInput[]): PushBatchAnswer {
    const admitted: AdmittedEvent[] = [];
    for (let index = 0; index < events.length; index++) {
      const input = events[index] as EventInput;
      const event = this.#admission.tryAdmit(input, this.#peer);
      if (event === undefined) {
        this.#reject(index, input);
      } else {
        admitted.push({ ...event, id: event.id.slice() });
      }
    }
    if (this.#rejections.length > 0) {
      throw this.#invalidError();
    }
    this.#flusher.requireRoom(admitted.length);
    for (const event of admitted) {
      const full = this.#push(event);
      if (full !== undefined) {
        throw full;
      }
    }
    return this.#answer();
  }

  /** Resolves when all that was taken is on stable storage. */
  settled(): Promise<unknown> {
    return Promise.all(this.#batches.map((batch) => this.#flusher.durable(batch)));
  }

  /** Books the events that were rejected one by one and, when the call of `events` failed, the rest of them. */
  countRejected(rejections: Rejections, failure?: unknown, events = 0): void {
    rejections.add("invalid", this.#invalid);
    rejections.add("queue_full", this.#rejections.length - this.#invalid);
    const rest = events - this.#rejections.length;
    if (failure instanceof InvalidEventError && this.#invalid > 0) {
      rejections.add("all_or_nothing", rest);
    } else if (failure !== undefined) {
      rejections.addThrown(failure, rest);
    }
  }

  /** Queues an event; returns why it could not. */
  #push(event: AdmittedEvent): QueueFullError | undefined {
    try {
      const batch = this.#flusher.push(event);
      if (batch !== this.#batches.at(-1)) {
        this.#batches.push(batch);
      }
      this.#accepted += 1;
      return undefined;
    } catch (error) {
      if (error instanceof QueueFullError) {
        return error;
      }
      throw error;
    }
  }

  #reject(index: number, input: EventInput): void {
    this.#invalid += 1;
    const violations = this.#admission.violations(input);
    this.#rejections.push(invalidRejection(index, violations));
    this.#violationCount += violations.length;
    for (const { field, description } of violations) {
      if (this.#violations.length < VIOLATIONS_MAX) {
        this.#violations.push({ field: `events[${index}].${field}`, description });
      }
    }
  }

  /** For when no event is taken because of those that were rejected. */
  #invalidError(): InvalidEventError {
    const more = this.#violationCount - this.#violations.length;
    return new InvalidEventError([
      ...this.#violations,
      ...(more > 0 ? [{ field: "events", description: `${more} more fields are at fault` }] : []),
    ]);
  }

  #answer(): PushBatchAnswer {
    return { accepted: this.#accepted, rejections: this.#rejections };
  }
}
