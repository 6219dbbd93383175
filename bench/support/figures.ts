/** The figures that the service is judged by: each a quotient of measurements of the same run, and what it must reach. */
import type { Measurement } from "./measurement.js";
import { median } from "./statistics.js";

/** The rounds of one measurement; undefined where a round is void. */
export interface Series {
  readonly values: readonly (number | undefined)[];
  readonly p99Ms: readonly (number | undefined)[];
}

/** What was measured. */
export type AllSeries = ReadonlyMap<Measurement, Series>;

/** What is to be compared. */
export interface FigureDefinition {
  readonly title: string;
  readonly of: Measurement;
  /** Absent: the measurement stands for itself. */
  readonly over?: Measurement;
  /** Default: value. */
  readonly by?: "values" | "p99Ms";
  /** What the figure must reach at least, or stay under. */
  readonly bound: number;
  readonly aim: number;
  /** Default: false. */
  readonly lessIsBetter?: boolean;
}

export interface Figure extends FigureDefinition {
  /** Quotient of the medians; undefined when it is void. */
  readonly value: number | undefined;
  /** The lowest and the highest of the rounds. */
  readonly range: readonly [number, number] | undefined;
  readonly verdict: "aim reached" | "reached" | "falls short" | "void" | "not measured";
}

/** Works a figure out. One void round makes it void. */
export function judge(definition: FigureDefinition, allSeries: AllSeries): Figure {
  const { of, over, by = "values" } = definition;
  const numerators = allSeries.get(of)?.[by];
  const denominators = over === undefined ? numerators?.map(() => 1) : allSeries.get(over)?.[by];
  if (numerators === undefined || denominators === undefined) {
    return { ...definition, value: undefined, range: undefined, verdict: "not measured" };
  }
  if (!isWhole(numerators) || !isWhole(denominators)) {
    return { ...definition, value: undefined, range: undefined, verdict: "void" };
  }
  const value = median(numerators) / median(denominators);
  const rounds = numerators.map((numerator, i) => numerator / (denominators[i] as number));
  const range = [Math.min(...rounds), Math.max(...rounds)] as const;
  return { ...definition, value, range, verdict: verdictOf(value, definition) };
}

function isWhole(values: readonly (number | undefined)[]): values is readonly number[] {
  return values.length > 0 && values.every((value) => value !== undefined);
}

function verdictOf(value: number, { bound, aim, lessIsBetter = false }: FigureDefinition): Figure["verdict"] {
  const reaches = (target: number) => (lessIsBetter ? value <= target : value >= target);
  if (reaches(aim)) {
    return "aim reached";
  }
  return reaches(bound) ? "reached" : "falls short";
}
