/** One page in Chromium: its scripts run, and what it shows is waited for, never by time. */

/** Sends a command of the DevTools protocol to the tab. */
export type Send = <T>(method: string, params?: object) => Promise<T>;

interface Evaluation {
  readonly result: { readonly value: unknown };
  readonly exceptionDetails?: ThrownDetails;
}

interface ThrownDetails {
  readonly text: string;
  readonly exception?: { readonly description?: string };
}

export class Page {
  readonly send: Send;
  /** Errors of its scripts, and what the browser had to say against it. */
  readonly complaints: string[] = [];
  #onLoad: () => void = () => {};

  constructor(send: Send) {
    this.send = send;
  }

  async load(url: string): Promise<void> {
    for (const domain of ["Page", "Runtime", "Log"]) {
      await this.send(`${domain}.enable`);
    }
    const loaded = new Promise<void>((resolve) => {
      this.#onLoad = resolve;
    });
    await this.send("Page.navigate", { url });
    await loaded;
  }

  /** Takes note of what the page tells by itself. */
  hear(method: string, params: unknown): void {
    if (method === "Page.loadEventFired") {
      this.#onLoad();
    } else if (method === "Runtime.exceptionThrown") {
      const { exceptionDetails } = params as { exceptionDetails: ThrownDetails };
      this.complaints.push(wordsOf(exceptionDetails));
    } else if (method === "Log.entryAdded") {
      const { entry } = params as { entry: { level: string; text: string } };
      if (entry.level === "error") {
        this.complaints.push(entry.text);
      }
    }
  }

  /** The value of an expression in the page; of a promise, what it resolves with. Rejects with what is thrown. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send<Evaluation>("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails !== undefined) {
      throw new Error(wordsOf(exceptionDetails));
    }
    return result.value as T;
  }

  /** Resolves when the element shows exactly this text, or text that matches. */
  async shows(selector: string, wanted: string | RegExp): Promise<void> {
    const isWanted =
      typeof wanted === "string" ? `text === ${JSON.stringify(wanted)}` : `${wanted}.test(text)`;
    await this.evaluate(`new Promise((resolve) => {
      const look = () => {
        const text = document.querySelector(${JSON.stringify(selector)})?.textContent;
        if (${isWanted}) resolve();
      };
      new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
      look();
    })`);
  }

  /** The text that the element shows now. */
  text(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);
  }
}

function wordsOf({ text, exception }: ThrownDetails): string {
  return exception?.description ?? text;
}
