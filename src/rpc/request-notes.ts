/** What the stock lane notes of a request on its way through connect; it decides nothing. */
import { createContextKey, type Interceptor } from "@connectrpc/connect";

/** Notes on one request. */
export interface RequestNotes {
  /** When its header had come, by `Clock.elapsed`. */
  readonly arrivedAt: number;
  /** A method got its message, or its stream of messages. */
  hasReachedMethod: boolean;
}

/** The notes on the request that a context belongs to; undefined for a context that is not the dispatcher's. */
export const requestNotesKey = createContextKey<RequestNotes | undefined>(undefined);

/** Notes that a request has reached its method. */
export const noteReached: Interceptor = (next) => (request) => {
  const notes = request.contextValues.get(requestNotesKey);
  if (notes !== undefined) {
    notes.hasReachedMethod = true;
  }
  return next(request);
};
