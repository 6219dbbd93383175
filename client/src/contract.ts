/** The generated contract, `@stats-service/client/contract`: for callers that make a client of their own. */
export {
  type BadRequest,
  type BadRequest_FieldViolation,
  BadRequest_FieldViolationSchema,
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  type RetryInfo,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.js";
export * from "../../gen/stats/v1/counts_pb.js";
export * from "../../gen/stats/v1/stats_pb.js";
