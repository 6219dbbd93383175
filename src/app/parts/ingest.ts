/** The parts on the way of an event from the call to the sink. */
import { EventIds } from "../../event/event-id.js";
import { Admission } from "../../ingest/admission.js";
import { BufferReplay } from "../../ingest/buffer-replay.js";
import { EventQueue } from "../../ingest/event-queue.js";
import { Flusher } from "../../ingest/flusher.js";
import { Ledger } from "../../ingest/ledger.js";
import { Readiness } from "../../ingest/readiness.js";
import type { ClockWitness } from "../../postgres/clock-witness.js";
import type { Sink } from "../../sink/sink.js";
import type { BufferParts } from "./buffer.js";
import { job, part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface IngestParts {
  readonly ledger: Ledger;
  readonly queue: EventQueue;
  readonly admission: Admission;
  readonly flusher: Flusher;
  /** undefined: there is no buffer, or others write what is in it. */
  readonly replay: BufferReplay | undefined;
  readonly readiness: Readiness;
}

type Needs = IngestParts &
  BufferParts &
  ProcessParts & {
    readonly sink: Sink;
    /** undefined: there is no database to ask. */
    readonly clockWitness: ClockWitness | undefined;
  };

export function ingestParts(): Registrations<IngestParts> {
  return {
    ledger: part(({ buffer }: Needs) => new Ledger({ sharesBuffer: buffer?.kind === "jetstream" })),
    queue: part(({ config, clock }: Needs) => new EventQueue(config, clock)),
    admission: part(createAdmission),
    flusher: job(createFlusher),
    replay: job(createReplay),
    readiness: part(
      ({ queue, buffer, config, flusher, replay, health, clock, logger }: Needs) => {
        // A writer takes no events that the buffer would need room for.
        const room = config.role === "writer" ? undefined : buffer;
        return new Readiness({ queue, buffer: room, flusher, replay, health, clock, logger });
      },
      (readiness) => readiness.close(),
    ),
  };
}

function createAdmission({ config, clock, clockWitness }: Needs): Admission {
  return new Admission({
    clock,
    ids: new EventIds({ now: () => clock.now() }),
    properties: config.properties,
    remoteIp: config.remoteIp,
    ...(clockWitness && { onAheadOfClock: clockWitness.doubt }),
  });
}

function createFlusher(needs: Needs): Flusher {
  const { queue, ledger, sink, buffer, clock, random, logger, metrics, config } = needs;
  const observer = metrics?.flushes;
  return new Flusher({
    queue,
    ledger,
    sink,
    // An edge writes to it in any case: it is the edge's sink.
    buffer: config.role === "edge" ? undefined : buffer,
    clock,
    random,
    logger,
    observer,
    options: config,
  });
}

function createReplay(needs: Needs): BufferReplay | undefined {
  const { buffer, config, sink, ledger, flusher, clock, random, logger, metrics } = needs;
  const observer = metrics?.replays;
  return buffer === undefined || config.role === "edge"
    ? undefined
    : new BufferReplay({
        buffer,
        sink,
        ledger,
        liveTraffic: flusher,
        clock,
        random,
        logger,
        observer,
      });
}
