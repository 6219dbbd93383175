/** What the stock lane notes of a request on its way through connect; it decides nothing. */
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";

/** Notes on one request. */
export interface RequestNotes {
  /** The caller's address in PostgreSQL's binary inet form; no bytes when it is not known. */
  readonly address: Uint8Array;
  /** When its header had come, by `Clock.elapsed`. */
  readonly arrivedAt: number;
  /** A method got its message, or its stream of messages. */
  hasReachedMethod: boolean;
}

const notesKey = createContextKey<RequestNotes | undefined>(undefined);

/** The context values of a request with these notes. */
export function withNotes(notes: RequestNotes): ContextValues {
  return createContextValues().set(notesKey, notes);
}

/** The notes on the request that a context belongs to. The dispatcher makes every context with some. */
export function notesOf(values: ContextValues): RequestNotes {
  const notes = values.get(notesKey);
  if (notes === undefined) {
    throw new Error("a request came past the dispatcher");
  }
  return notes;
}

/** Notes that a request has reached its method. */
export const noteReached: Interceptor = (next) => (request) => {
  notesOf(request.contextValues).hasReachedMethod = true;
  return next(request);
};
