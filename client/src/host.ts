/** What the client knows of the page or the program around it: when it ends, and where people read; it sends nothing. */

/** What to do when the end comes that nobody announced to the client. */
export interface Ending {
  /** The page is hidden, or left: it may be gone at any moment, or come back. Called each time, more than once for one end. */
  leave(): void;
  /** The program of Node has nothing more to do, and ends unless this begins something. */
  finish(): void;
}

export interface Host {
  /** Tells `ending` of ends until the returned function is called. */
  watchEnd(ending: Ending): () => void;
  /** Shows people a text. */
  warn(text: string): void;
}

interface Listening {
  addEventListener(event: string, listener: () => void): void;
  removeEventListener(event: string, listener: () => void): void;
}

/** Of the globals those that are looked at; a page has a document, a program of Node's a process. */
interface Globals extends Partial<Listening> {
  readonly document?: Listening & { readonly visibilityState: string };
  readonly process?: {
    on?(event: string, listener: () => void): unknown;
    off?(event: string, listener: () => void): unknown;
  };
}

const globals = globalThis as unknown as Globals;
const watched = new Set<Ending>();

const leave = () => {
  for (const ending of watched) {
    ending.leave();
  }
};
// Phones end pages that are hidden without another word.
const leaveIfHidden = () => {
  if (globals.document?.visibilityState === "hidden") {
    leave();
  }
};
const finish = () => {
  for (const ending of watched) {
    ending.finish();
  }
};

/** The page or program itself. However many clients there are, it has one listener of each kind, and none while they are empty. */
export const globalHost: Host = {
  watchEnd(ending) {
    if (watched.size === 0) {
      // Not `unload` nor `beforeunload`: with one of them browsers keep no page to come back to.
      globals.document?.addEventListener("visibilitychange", leaveIfHidden);
      if (globals.document !== undefined) {
        globals.addEventListener?.("pagehide", leave);
      }
      globals.process?.on?.("beforeExit", finish);
    }
    watched.add(ending);
    return () => {
      if (watched.delete(ending) && watched.size === 0) {
        globals.document?.removeEventListener("visibilitychange", leaveIfHidden);
        globals.removeEventListener?.("pagehide", leave);
        globals.process?.off?.("beforeExit", finish);
      }
    };
  },
  // biome-ignore lint/suspicious/noConsole: of a client that nobody listens to, the console is the only voice
  warn: (text) => console.warn(text),
};
