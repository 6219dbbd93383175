/** The parts on the way of an event from the call to the sink. */
import { EventIds } from "../../event/event-id.js";
import { Admission } from "../../ingest/admission.js";
import { BufferReplay } from "../../ingest/buffer-replay.js";
import { EventQueue } from "../../ingest/event-queue.js";
import { Flusher } from "../../ingest/flusher.js";
import { Ledger } from "../../ingest/ledger.js";
import { Readiness } from "../../ingest/readiness.js";
import { job, part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";
import type { StorageParts } from "./storage.js";

export interface IngestParts {
  readonly ledger: Ledger;
  readonly queue: EventQueue;
  readonly admission: Admission;
  readonly flusher: Flusher;
  /** undefined: there is no buffer. */
  readonly replay: BufferReplay | undefined;
  readonly readiness: Readiness;
}

type Needs = IngestParts & StorageParts & ProcessParts;

export function ingestParts(): Registrations<IngestParts> {
  return {
    ledger: part(() => new Ledger()),
    queue: part(({ config, clock }: Needs) => new EventQueue(config, clock)),
    admission: part(createAdmission),
    flusher: job(createFlusher),
    replay: job(createReplay),
    readiness: part(
      ({ queue, spool, flusher, replay, health, clock, logger }: Needs) =>
        new Readiness({ queue, buffer: spool, flusher, replay, health, clock, logger }),
      (readiness) => readiness.close(),
    ),
  };
}

function createAdmission({ config, clock }: Needs): Admission {
  return new Admission({
    clock,
    ids: new EventIds({ now: () => clock.now() }),
    properties: config.properties,
    remoteIp: config.remoteIp,
  });
}

function createFlusher(needs: Needs): Flusher {
  const { queue, ledger, sink, spool, clock, random, logger, metrics, config } = needs;
  const observer = metrics?.flushes;
  return new Flusher({
    queue,
    ledger,
    sink,
    buffer: spool,
    clock,
    random,
    logger,
    observer,
    options: config,
  });
}

function createReplay(needs: Needs): BufferReplay | undefined {
  const { spool, sink, ledger, flusher, clock, random, logger, metrics } = needs;
  const observer = metrics?.replays;
  return spool === undefined
    ? undefined
    : new BufferReplay({
        buffer: spool,
        sink,
        ledger,
        liveTraffic: flusher,
        clock,
        random,
        logger,
        observer,
      });
}
