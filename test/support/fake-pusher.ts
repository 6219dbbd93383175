/** A service as the buffering client sees it, which answers when and what the test says. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { BatchPusher } from "../../client/src/batch-sender.js";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  type PushBatchResponse,
  PushBatchResponseSchema,
  RejectionReason,
} from "../../gen/stats/v1/stats_pb.js";

type Request = Parameters<BatchPusher["pushBatch"]>[0];
type RejectionInit = NonNullable<MessageInitShape<typeof PushBatchResponseSchema>["rejections"]>[number];

/** A call that waits for its answer. */
export interface FakeCall {
  readonly request: Request;
  readonly timeoutMs: number;
  readonly keepalive: boolean;
  /** Items of the request's events. */
  readonly items: number[];
  /** Answers OK, but for these events. */
  answer(rejections?: RejectionInit[]): void;
  fail(error: unknown): void;
}

/** Keeps calls until the test answers them. */
export class FakePusher implements BatchPusher {
  /** Calls that have no answer yet, oldest first. */
  readonly calls: FakeCall[] = [];
  /** All calls so far. */
  count = 0;

  pushBatch(
    request: Request,
    { signal, timeoutMs, keepalive }: Parameters<BatchPusher["pushBatch"]>[1],
  ): Promise<PushBatchResponse> {
    this.count += 1;
    return new Promise((resolve, reject) => {
      const giveUp = () => call.fail(new ConnectError("given up", Code.Canceled));
      const end = () => {
        this.calls.splice(this.calls.indexOf(call), 1);
        signal.removeEventListener("abort", giveUp);
      };
      const call: FakeCall = {
        request,
        timeoutMs,
        keepalive,
        items: request.events.map(({ item }) => item),
        answer: (rejections = []) => {
          end();
          const accepted = request.events.length - rejections.length;
          resolve(create(PushBatchResponseSchema, { accepted, rejections }));
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
      this.calls.push(call);
      signal.addEventListener("abort", giveUp);
    });
  }
}

/** What is said of an event that can never be accepted. */
export function invalid(index: number): RejectionInit {
  return {
    index,
    reason: RejectionReason.INVALID,
    message: "invalid property",
    violations: [{ field: "property", description: "is not known" }],
  };
}

/** What is said of an event that there is no room for. */
export function noRoom(index: number, retryMs: number): RejectionInit {
  return {
    index,
    reason: RejectionReason.QUEUE_FULL,
    message: "full",
    retryDelay: durationFromMs(retryMs),
  };
}

/** INVALID_ARGUMENT that names these fields. */
export function badRequest(...fields: string[]): ConnectError {
  return namingFields(Code.InvalidArgument, fields);
}

/** PERMISSION_DENIED that names these fields. */
export function denied(...fields: string[]): ConnectError {
  return namingFields(Code.PermissionDenied, fields);
}

function namingFields(code: Code, fields: string[]): ConnectError {
  const fieldViolations = fields.map((field) => ({ field, description: "is wrong" }));
  const value = create(BadRequestSchema, { fieldViolations });
  return new ConnectError("bad", code, undefined, [{ desc: BadRequestSchema, value }]);
}

/** An error that says when to come back. */
export function busy(code: Code, retryMs: number): ConnectError {
  const value = create(RetryInfoSchema, { retryDelay: durationFromMs(retryMs) });
  return new ConnectError("busy", code, undefined, [{ desc: RetryInfoSchema, value }]);
}
