/** Sums of objects that hold numbers only. */

/** The sums of two objects' numbers, key by key; the keys are those of the first. */
export function addUp<T extends { readonly [K in keyof T]: number }>(a: T, b: T): T {
  const keys = Object.keys(a) as (keyof T)[];
  return Object.fromEntries(keys.map((key) => [key, a[key] + b[key]])) as T;
}
