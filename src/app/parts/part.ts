/** What the container's areas are made of: registrations, each with the disposer that ends the part. */
import { asFunction, type BuildResolver, type Resolver } from "awilix";

/** One registration for each part of an area. */
export type Registrations<Parts> = { readonly [Name in keyof Parts]: Resolver<Parts[Name]> };

/** Works in parallel with the RPCs, from start to stop. */
export interface BackgroundJob {
  start(): void;
  /** Resolves when the job has finished its work. Safe before start() and twice. */
  close(): Promise<void>;
}

/** A part that is made once, when somebody needs it, and ended by `end` if it was made. */
export function part<Needs extends object, T>(
  make: (needs: Needs) => T,
  end: (made: T) => unknown = () => undefined,
): BuildResolver<T> {
  return asFunction(make)
    .singleton()
    .disposer((made) => end(made) as Promise<void>);
}

const JOB = Symbol("background job");

/**
 * A part that is a background job: the service starts it with the others, and closes it. undefined: it is not needed.
 * To add a job, write its class in a file of its area and register it by this in the area's parts.
 */
export function job<Needs extends object, T extends BackgroundJob | undefined>(
  make: (needs: Needs) => T,
): BuildResolver<T> {
  return Object.assign(
    part(make, (made) => made?.close()),
    { [JOB]: true },
  );
}

export function isJob(registration: object): boolean {
  return JOB in registration;
}
