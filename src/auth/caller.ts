/** Who makes a call, as far as its token tells; it proves nothing by itself. */

/** The holder of a token. */
export interface Caller {
  /** The token's public id: stays the same when the tokens are loaded again. */
  readonly id: string;
  /** The name that the operator gave it. */
  readonly name: string;
  /** The properties that it may push; undefined: any. */
  readonly properties: ReadonlySet<string> | undefined;
}

/** Whether a caller may push a property. Without tokens there is no caller, and everyone may. */
export function mayPush(caller: Caller | undefined, property: string): boolean {
  return caller?.properties === undefined || caller.properties.has(property);
}
