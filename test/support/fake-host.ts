/** A page or a program around a client, which ends when the test says so. */
import type { Ending, Host } from "../../client/src/host.js";

/** Keeps what it is told. */
export class FakeHost implements Host {
  readonly warnings: string[] = [];
  readonly watched = new Set<Ending>();

  readonly watchEnd = (ending: Ending): (() => void) => {
    this.watched.add(ending);
    return () => void this.watched.delete(ending);
  };

  readonly warn = (text: string): void => {
    this.warnings.push(text);
  };

  /** The page is hidden, or left. */
  leave(): void {
    for (const ending of this.watched) {
      ending.leave();
    }
  }

  /** The program has nothing more to do. */
  finish(): void {
    for (const ending of this.watched) {
      ending.finish();
    }
  }
}
