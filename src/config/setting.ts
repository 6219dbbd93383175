/**
 * What a setting is: how its text is read, what it is when it is absent, what it means. It reads no environment.
 *
 * A schema library would do it, too, but every command would wait for it: zod takes 60 ms of CPU to load.
 */
import { resolve } from "node:path";

/** What a value has to be is said in a rule: "must be on or off". The faults of a text are such rules. */
type Reading<T> = { readonly value: T } | { readonly faults: readonly string[] };

interface SettingParts<T> {
  readonly read: (text: string | undefined) => Reading<T>;
  readonly format: string;
  readonly default: string;
  readonly description: string;
}

/** A setting, or what is known of it so far: each method returns another one. */
export class Setting<T> {
  readonly #parts: SettingParts<T>;

  constructor(parts: SettingParts<T>) {
    this.#parts = parts;
  }

  /** What a value looks like, with its bounds; empty: any text. */
  get format(): string {
    return this.#parts.format;
  }

  /** As text; empty: there is none. */
  get default(): string {
    return this.#parts.default;
  }

  get description(): string {
    return this.#parts.description;
  }

  /** Reads a value; `undefined`: the setting is absent. */
  read(text: string | undefined): Reading<T> {
    return this.#parts.read(text);
  }

  /** Takes only values of which `isSound` is true; `rule` says to others what they must be. */
  refine(isSound: (value: T) => boolean, rule: string): Setting<T> {
    return this.check((value) => (isSound(value) ? undefined : rule));
  }

  /** Takes only values for which `faultOf` has no fault. */
  check(faultOf: (value: T) => string | undefined): Setting<T> {
    return this.#then((value) => {
      const fault = faultOf(value);
      return fault === undefined ? { value } : { faults: [fault] };
    });
  }

  transform<U>(change: (value: T) => U): Setting<U> {
    return this.#then((value) => ({ value: change(value) }));
  }

  meta({ format }: { readonly format: string }): Setting<T> {
    return new Setting({ ...this.#parts, format });
  }

  describe(description: string): Setting<T> {
    return new Setting({ ...this.#parts, description });
  }

  /** What an absent setting is, as text. */
  prefault(byDefault: string): Setting<T> {
    const { read } = this.#parts;
    return new Setting({ ...this.#parts, default: byDefault, read: (text) => read(text ?? byDefault) });
  }

  /** May be absent; `byDefault` says what is taken then, if that follows from others. */
  optional(byDefault = ""): Setting<T | undefined> {
    const { read } = this.#parts;
    return new Setting<T | undefined>({
      ...this.#parts,
      default: byDefault,
      read: (text) => (text === undefined ? { value: undefined } : read(text)),
    });
  }

  #then<U>(next: (value: T) => Reading<U>): Setting<U> {
    const { read, ...others } = this.#parts;
    return new Setting({
      ...others,
      read: (text) => {
        const reading = read(text);
        return "value" in reading ? next(reading.value) : reading;
      },
    });
  }
}

/** Any text. */
export function text(): Setting<string> {
  return new Setting({
    read: (value) => (value === undefined ? { faults: ["is needed"] } : { value }),
    format: "",
    default: "",
    description: "",
  });
}

/** One of these words. */
export function oneOf<const Word extends string>(words: readonly Word[], rule: string): Setting<Word> {
  return text()
    .refine((value) => (words as readonly string[]).includes(value), rule)
    .transform((value) => value as Word);
}

export function wholeNumber(min: number, max: number): Setting<number> {
  const rule = `must be a whole number from ${min} to ${max}`;
  return text()
    .refine((value) => /^\d{1,15}$/.test(value), rule)
    .transform(Number)
    .refine((value) => value >= min && value <= max, rule)
    .meta({ format: `whole number, ${min} to ${max}` });
}

/** A file or folder; relative ones start from the working directory. */
export function filePath(): Setting<string> {
  return text()
    .transform((path) => resolve(path))
    .meta({ format: "path" });
}

/** Names separated by commas. */
export function list(): Setting<string[]> {
  return text().transform((names) => names.split(",").map((name) => name.trim()));
}

export function onOrOff(): Setting<boolean> {
  return oneOf(["on", "off"], "must be on or off")
    .transform((value) => value === "on")
    .meta({ format: "on or off" });
}

/** Settings by their names in code. */
export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

/** Their values. */
export type Values<Table> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer T> ? T : never;
};

/** The values of settings in an environment, by their names there. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What is wrong with settings, by their names in code. */
export type Faults = [name: string, rule: string][];

/** The settings are not usable; the message has a line for each fault. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";

  constructor(faults: Faults) {
    const lines = faults.map(([name, rule]) => `  ${environmentName(name)}: ${rule}`);
    super(`these settings cannot be used:\n${lines.join("\n")}`);
  }
}

/** The name of a setting in the environment: `flushMaxRows` is FLUSH_MAX_ROWS. */
export function environmentName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** Reads each of these settings by itself; one that is at fault has no value. An empty text counts as absent. */
export function readAll<Table extends SettingTable>(
  table: Table,
  environment: Environment,
): { values: Partial<Values<Table>>; faults: Faults } {
  const values: Record<string, unknown> = {};
  const faults: Faults = [];
  for (const [name, setting] of Object.entries(table)) {
    const reading = setting.read(environment[environmentName(name)] || undefined);
    if ("value" in reading) {
      values[name] = reading.value;
    } else {
      faults.push(...reading.faults.map((rule): Faults[number] => [name, rule]));
    }
  }
  return { values: values as Partial<Values<Table>>, faults };
}
