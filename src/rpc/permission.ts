/** What a caller's token allows it to push; it knows no codes. */
import { type Caller, mayPush } from "../auth/token-store.js";
import type { FieldViolation } from "../ingest/admission.js";

/** Never with the property itself, which may be as long as a request. */
export const PROPERTY_DENIED: FieldViolation = {
  field: "property",
  description: "is not one of those that the token allows",
};

/** The caller may not push a property; the fields that have it are named. */
export class PropertyDeniedError extends Error {
  override readonly name = "PropertyDeniedError";
  readonly violations: readonly FieldViolation[];

  constructor(violations: readonly FieldViolation[]) {
    super(violations.map(({ field, description }) => `${field}: ${description}`).join("; "));
    this.violations = violations;
  }
}

/** @throws PropertyDeniedError */
export function requirePermission(caller: Caller | undefined, property: string): void {
  if (!mayPush(caller, property)) {
    throw new PropertyDeniedError([PROPERTY_DENIED]);
  }
}
