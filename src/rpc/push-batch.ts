/** The handler of StatsService.PushBatch: judges each event, queues those it can, and names the others. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { AckMode, type PushBatchResponseSchema, type StatsService } from "../../gen/stats/v1/stats_pb.js";
import { type Caller, isAllowed } from "../auth/token-store.js";
import type { EventInput } from "../ingest/admission.js";
import type { AdmittedEvent, Batch } from "../ingest/batch.js";
import { InvalidEventError, QueueFullError, type Refusal } from "../ingest/refusal.js";
import { PROPERTY_DENIED } from "./authentication.js";
import { toConnectError } from "./errors.js";
import { ackModeFault, type EventIntake, whenDurable } from "./push.js";
import { BatchRejections, Rejections } from "./rejections.js";
import type { CallContext, UnaryHandler } from "./unary-method.js";

/** Judges events without throwing. */
export interface BatchAdmission {
  tryAdmit(input: EventInput, inet: Uint8Array): AdmittedEvent | undefined;
  /** Why not. */
  refusal(input: EventInput): Refusal;
}

/** Takes events for the background. */
export interface BatchIntake extends EventIntake {
  requireRoom(rows: number, caller: string | undefined): void;
}

export interface PushBatchHandlerDeps {
  readonly admission: BatchAdmission;
  readonly flusher: BatchIntake;
  /** Most events in one call. Default: 10,000, as the contract says. */
  readonly batchMaxEvents?: number;
  /** Hears of the events that are refused. Default: nobody reads it. */
  readonly rejections?: Rejections;
}

const BATCH_MAX_EVENTS = 10_000;

/** Makes the handler. All events are judged and queued in one step, so a drain cannot come in between. */
export function createPushBatchHandler(
  deps: PushBatchHandlerDeps,
): UnaryHandler<typeof StatsService.method.pushBatch> {
  const { rejections = new Rejections(), batchMaxEvents = BATCH_MAX_EVENTS } = deps;
  return (request, call) => {
    const { events, ack, allOrNothing } = request;
    const intake = new Intake(deps, call);
    try {
      requireSound(events.length, ack, batchMaxEvents);
      const response = allOrNothing ? intake.takeAll(events) : intake.takeEach(events);
      intake.rejections.countIn(rejections);
      return ack === AckMode.DURABLE && intake.batches.length > 0
        ? whenDurable(deps.flusher, intake.batches, call, response)
        : response;
    } catch (error) {
      intake.rejections.countIn(rejections, { error, events: events.length });
      throw toConnectError(error);
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

/** Takes in the events of one call. */
class Intake {
  readonly #admission: BatchAdmission;
  readonly #flusher: BatchIntake;
  readonly #address: Uint8Array;
  readonly #caller: Caller | undefined;
  readonly rejections = new BatchRejections();
  /** Those that the events went into, each once. */
  readonly batches: Batch[] = [];
  #accepted = 0;

  constructor({ admission, flusher }: PushBatchHandlerDeps, { address, caller }: CallContext) {
    this.#admission = admission;
    this.#flusher = flusher;
    this.#address = address;
    this.#caller = caller;
  }

  /**
   * Takes the events that can be taken.
   *
   * @throws InvalidEventError, PropertyDeniedError, QueueFullError, IntakeClosedError when that is none
   */
  takeEach(events: readonly EventInput[]): PushBatchAnswer {
    let full: QueueFullError | undefined;
    for (let index = 0; index < events.length; index++) {
      const input = events[index] as EventInput;
      const event = this.#admit(index, input);
      if (event === undefined) {
        continue;
      }
      // Nothing leaves a full queue meanwhile; what comes behind is only judged.
      full ??= this.#push(event);
      if (full !== undefined) {
        this.rejections.add(index, full);
      }
    }
    if (this.#accepted === 0 && events.length > 0) {
      throw full ?? this.rejections.toError({ isWhole: false });
    }
    return this.#answer();
  }

  /**
   * Takes all events.
   *
   * @throws InvalidEventError, PropertyDeniedError, TooManyEventsError, QueueFullError, IntakeClosedError when it has
   *   taken none
   */
  takeAll(events: readonly EventInput[]): PushBatchAnswer {
    const admitted: AdmittedEvent[] = [];
    for (let index = 0; index < events.length; index++) {
      const input = events[index] as EventInput;
      const event = this.#admit(index, input);
      if (event !== undefined) {
        admitted.push({ ...event, id: event.id.slice() });
      }
    }
    if (this.rejections.list.length > 0) {
      throw this.rejections.toError({ isWhole: true });
    }
    this.#flusher.requireRoom(admitted.length, this.#caller?.id);
    for (const event of admitted) {
      const full = this.#push(event);
      if (full !== undefined) {
        throw full;
      }
    }
    return this.#answer();
  }

  /** Queues an event; returns why it could not. */
  #push(event: AdmittedEvent): QueueFullError | undefined {
    try {
      const batch = this.#flusher.push(event, this.#caller?.id);
      if (batch !== this.batches.at(-1)) {
        this.batches.push(batch);
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

  /** Undefined: the event cannot be accepted, and is rejected. */
  #admit(index: number, input: EventInput): AdmittedEvent | undefined {
    if (!isAllowed(this.#caller, input.property)) {
      this.rejections.add(index, PROPERTY_DENIED);
      return undefined;
    }
    const event = this.#admission.tryAdmit(input, this.#address);
    if (event === undefined) {
      this.rejections.add(index, this.#admission.refusal(input));
    }
    return event;
  }

  #answer(): PushBatchAnswer {
    return { accepted: this.#accepted, rejections: this.rejections.list };
  }
}
