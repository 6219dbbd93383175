/** One page in Chromium: its scripts run, and what it shows is waited for, never by time. */

/** Sends a command of the DevTools protocol to the tab. */
export type Send = <T>(method: string, params?: object) => Promise<T>;

/** How long a page may take to show what is waited for, in milliseconds: within a test's time, so that it can say so. */
const SHOWS_MAX_MS = 20_000;

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
  #onShown: () => void = () => {};

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

  /** Goes back to the page before, as the browser's button does; resolves when that is shown. */
  async back(): Promise<void> {
    const { currentIndex, entries } = await this.send<{
      currentIndex: number;
      entries: { readonly id: number }[];
    }>("Page.getNavigationHistory");
    const shown = new Promise<void>((resolve) => {
      this.#onShown = resolve;
    });
    await this.send("Page.navigateToHistoryEntry", { entryId: entries[currentIndex - 1]?.id });
    await shown;
  }

  /** Takes note of what the page tells by itself. */
  hear(method: string, params: unknown): void {
    if (method === "Page.loadEventFired") {
      this.#onLoad();
    } else if (method === "Page.frameNavigated") {
      this.#onShown();
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

  /** Resolves when the element shows exactly this text, or text that matches; rejects, with what it shows, when it does not. */
  async shows(selector: string, wanted: string | RegExp): Promise<void> {
    const isWanted =
      typeof wanted === "string" ? `text === ${JSON.stringify(wanted)}` : `${wanted}.test(text)`;
    const shown = await this.evaluate<string | undefined>(`new Promise((resolve) => {
      const read = () => document.querySelector(${JSON.stringify(selector)})?.textContent;
      const look = () => {
        const text = read();
        if (${isWanted}) resolve();
      };
      new MutationObserver(look).observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true,
      });
      window.setInterval(() => resolve(String(read())), ${SHOWS_MAX_MS});
      look();
    })`);
    if (shown !== undefined) {
      throw new Error(`${selector} shows ${JSON.stringify(shown)}, not ${wanted}`);
    }
  }

  /** The text that the element shows now. */
  text(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);
  }

  /** The texts that all elements of the selector show now. */
  texts(selector: string): Promise<string[]> {
    return this.evaluate(
      `[...document.querySelectorAll(${JSON.stringify(selector)})].map(({ textContent }) => textContent)`,
    );
  }

  /** Resolves when the page's URL has this in it. */
  async reaches(part: string): Promise<void> {
    await this.evaluate(`new Promise((resolve) => {
      const look = () => location.href.includes(${JSON.stringify(part)}) ? resolve() : requestAnimationFrame(look);
      look();
    })`);
  }

  /** Clicks where the element is, as a mouse does; fails when another element lies over it. */
  async click(selector: string): Promise<void> {
    const { x, y } = await this.place(selector);
    await this.#mouse("mouseMoved", x, y);
    await this.#mouse("mousePressed", x, y, "left");
    await this.#mouse("mouseReleased", x, y, "left");
  }

  /** Drags over an element, between two parts of its width, from 0 to 1. */
  async drag(selector: string, from: number, to: number): Promise<void> {
    const { left, width, y } = await this.place(selector);
    const [start, end] = [left + from * width, left + to * width];
    await this.#mouse("mouseMoved", start, y);
    await this.#mouse("mousePressed", start, y, "left");
    await this.#mouse("mouseMoved", (start + end) / 2, y, "left");
    await this.#mouse("mouseMoved", end, y, "left");
    await this.#mouse("mouseReleased", end, y, "left");
  }

  /** Presses keys, one after the other, such as "Tab", "Enter" or "Shift+ArrowLeft". */
  async press(...keys: string[]): Promise<void> {
    for (const key of keys) {
      const name = key.replace("Shift+", "");
      const event = {
        key: name,
        code: name,
        modifiers: key === name ? 0 : SHIFT,
        windowsVirtualKeyCode: KEY_CODES[name] ?? 0,
        ...(name === "Enter" && { text: "\r" }),
      };
      await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...event });
      await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
    }
  }

  /** Types into what has the focus. */
  async type(text: string): Promise<void> {
    await this.send("Input.insertText", { text });
  }

  /** Chooses in a list of choices, as a person does who clicks it. */
  async select(selector: string, value: string): Promise<void> {
    await this.evaluate(`{
      const list = document.querySelector(${JSON.stringify(selector)});
      list.value = ${JSON.stringify(value)};
      list.dispatchEvent(new Event("change", { bubbles: true }));
    }`);
  }

  /** Makes the window so wide, with colours for the day or the night. */
  async look(width: number, scheme: "light" | "dark"): Promise<void> {
    const size = { width, height: 900, deviceScaleFactor: 1, mobile: false };
    await this.send("Emulation.setDeviceMetricsOverride", size);
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** The middle of an element, scrolled into view, in pixels of the window. */
  async place(selector: string): Promise<{ x: number; y: number; left: number; width: number }> {
    return this.evaluate(`{
      const element = document.querySelector(${JSON.stringify(selector)});
      element.scrollIntoView({ block: "center", behavior: "instant" });
      const { left, top, width, height } = element.getBoundingClientRect();
      const [x, y] = [left + width / 2, top + height / 2];
      const over = document.elementFromPoint(x, y);
      if (over !== element && !element.contains(over) && !over?.contains(element)) {
        throw new Error("another element lies over ${selector}");
      }
      ({ x, y, left, width });
    }`);
  }

  async #mouse(type: string, x: number, y: number, button: "none" | "left" = "none"): Promise<void> {
    const buttons = button === "left" && type !== "mouseReleased" ? 1 : 0;
    const clickCount = type === "mouseMoved" ? 0 : 1;
    await this.send("Input.dispatchMouseEvent", { type, x, y, button, buttons, clickCount });
  }
}

/** Of the DevTools protocol: the bit of this key among the modifiers. */
const SHIFT = 8;

/** Browsers act on these keys by their numbers. */
const KEY_CODES: Readonly<Record<string, number>> = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  End: 35,
  Home: 36,
  ArrowLeft: 37,
  ArrowRight: 39,
};

function wordsOf({ text, exception }: ThrownDetails): string {
  return exception?.description ?? text;
}
