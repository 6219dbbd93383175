/**
 * A headless Chromium, told what to do by its DevTools protocol; it never leaves a process or a profile behind.
 *
 * The protocol goes over a pipe: JSON, each message ended by a NUL (https://chromedevtools.github.io/devtools-protocol).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { Page } from "./page.js";

const FLAGS = [
  "--headless",
  "--remote-debugging-pipe",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--disable-background-networking",
  "--disable-component-update",
  "--no-first-run",
  // Its sandbox refuses root.
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
];

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** Gets what a page tells by itself. */
export type OnEvent = (method: string, params: unknown) => void;

/** Runs from launch() until it is disposed of. */
export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #ended: Promise<unknown>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<string, OnEvent>();
  #unread = "";
  #lastId = 0;

  private constructor(path: string, profile: string) {
    this.#profile = profile;
    // In a process group of its own, so that its own children can be ended with it.
    this.#child = spawn(path, [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#ended = once(this.#child, "exit").finally(() => this.#abandon());
    this.#input.on("error", () => this.#abandon());
    this.#output.setEncoding("utf8").on("data", (text: string) => this.#read(text));
  }

  /** `path` is the program to run. */
  static async launch(path: string): Promise<Chromium> {
    return new Chromium(path, await mkdtemp(join(tmpdir(), "stats-chromium-")));
  }

  /** Opens a page in a tab of its own; resolves when it has been loaded. */
  async open(url: string): Promise<Page> {
    const { targetId } = await this.send<{ targetId: string }>("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send<{ sessionId: string }>("Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    const page = new Page((method, params) => this.send(method, params, sessionId));
    this.#listeners.set(sessionId, (method, params) => page.hear(method, params));
    await page.load(url);
    return page;
  }

  /** Gives a command, to a tab or to the browser itself; rejects when it cannot be done. */
  send<T>(method: string, params: object = {}, sessionId?: string): Promise<T> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: (result) => resolve(result as T), reject });
      this.#input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Killed with its children; asked to close, it would leave some of them writing to the profile.
    if (this.#child.pid !== undefined && this.#child.exitCode === null) {
      process.kill(-this.#child.pid, "SIGKILL");
    }
    await this.#ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10 });
  }

  get #input(): Writable {
    return this.#child.stdio[3] as Writable;
  }

  get #output(): Readable {
    return this.#child.stdio[4] as Readable;
  }

  #read(text: string): void {
    const messages = (this.#unread + text).split("\0");
    this.#unread = messages.pop() ?? "";
    for (const message of messages) {
      this.#take(JSON.parse(message) as Message);
    }
  }

  #take({ id, method, params, result, error, sessionId = "" }: Message): void {
    if (id === undefined) {
      this.#listeners.get(sessionId)?.(method ?? "", params);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) {
      waiting?.resolve(result);
    } else {
      waiting?.reject(new Error(error.message));
    }
  }

  #abandon(): void {
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new Error("Chromium has ended"));
    }
    this.#waiting.clear();
  }
}
