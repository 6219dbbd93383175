import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  file_google_protobuf_descriptor,
} from "@bufbuild/protobuf/wkt";
import { file_google_rpc_error_details } from "../../../gen/google/rpc/error_details_pb.js";
import { Health } from "../../../gen/health/v1/health_pb.js";
import { StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { DescriptorIndex } from "../../../src/rpc/descriptor-index.js";
import { type ReflectionAnswer, ReflectionSession } from "../../../src/rpc/reflection-service.js";

const services = [StatsService, Health];
const index = new DescriptorIndex({
  files: [...services.map((service) => service.file), file_google_rpc_error_details],
});

function open(): ReflectionSession {
  return new ReflectionSession({ index, services });
}

function fileNames(answer: ReflectionAnswer): string[] {
  if (answer.case !== "fileDescriptorResponse") {
    throw new Error(`expected files, got ${JSON.stringify(answer)}`);
  }
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

function symbol(value: string): ReflectionAnswer {
  return open().answer({ case: "fileContainingSymbol", value });
}

const NOT_FOUND = 5;

describe("ReflectionSession", () => {
  it("lists the services", () => {
    expect(open().answer({ case: "listServices", value: "" })).toEqual({
      case: "listServicesResponse",
      value: { service: [{ name: "stats.v1.StatsService" }, { name: "grpc.health.v1.Health" }] },
    });
  });

  it.each([
    ["a service", "stats.v1.StatsService", "stats/v1/stats.proto"],
    ["a method", "stats.v1.StatsService.Push", "stats/v1/stats.proto"],
    ["a message", "stats.v1.PushRequest", "stats/v1/stats.proto"],
    ["a field", "stats.v1.PushRequest.event_id", "stats/v1/stats.proto"],
    ["an enum", "stats.v1.AckMode", "stats/v1/stats.proto"],
    ["an enum value, beside its enum", "stats.v1.ACK_MODE_DURABLE", "stats/v1/stats.proto"],
    ["a nested message", "google.rpc.BadRequest.FieldViolation", "google/rpc/error_details.proto"],
    ["a nested enum", "grpc.health.v1.HealthCheckResponse.ServingStatus", "health/v1/health.proto"],
    ["a nested enum's value", "grpc.health.v1.HealthCheckResponse.SERVING", "health/v1/health.proto"],
    ["a message of an imported file", "google.protobuf.Duration", "google/protobuf/duration.proto"],
  ])("finds the file of %s", (_kind, name, file) => {
    expect(fileNames(symbol(name))[0]).toBe(file);
  });

  it("sends a file before the files that it imports", () => {
    expect(
      fileNames(open().answer({ case: "fileByFilename", value: "google/rpc/error_details.proto" })),
    ).toEqual(["google/rpc/error_details.proto", "google/protobuf/duration.proto"]);
  });

  it("sends an import once a stream, and again what is asked for", () => {
    const session = open();
    const ask = () =>
      fileNames(session.answer({ case: "fileContainingSymbol", value: "google.rpc.RetryInfo" }));
    expect(ask()).toHaveLength(2);
    expect(ask()).toEqual(["google/rpc/error_details.proto"]);
  });

  it.each([
    { case: "fileByFilename", value: "stats/v1/stats" },
    { case: "fileContainingSymbol", value: "stats.v1.Missing" },
    { case: "fileContainingSymbol", value: ".stats.v1.StatsService" },
    { case: "fileContainingSymbol", value: "stats.v1" },
    {
      case: "fileContainingExtension",
      value: { containingType: "stats.v1.PushRequest", extensionNumber: 1 },
    },
    { case: "allExtensionNumbersOfType", value: "stats.v1.Missing" },
  ] as const)("answers not found to %j", (question) => {
    expect(open().answer(question)).toMatchObject({ case: "errorResponse", value: { errorCode: NOT_FOUND } });
  });

  it("answers invalid argument to a request that asks nothing", () => {
    expect(open().answer({ case: undefined })).toMatchObject({
      case: "errorResponse",
      value: { errorCode: 3 },
    });
  });

  it("knows a message without extensions", () => {
    expect(open().answer({ case: "allExtensionNumbersOfType", value: "stats.v1.PushRequest" })).toEqual({
      case: "allExtensionNumbersResponse",
      value: { baseTypeName: "stats.v1.PushRequest", extensionNumber: [] },
    });
  });
});

describe("ReflectionSession, of extensions", () => {
  const session = new ReflectionSession({
    index: new DescriptorIndex({ files: [extensionFile()] }),
    services: [],
  });

  it("finds the file of an extension by number and by name", () => {
    const byNumber = session.answer({
      case: "fileContainingExtension",
      value: { containingType: "google.protobuf.MessageOptions", extensionNumber: 50_001 },
    });
    expect(fileNames(byNumber)[0]).toBe("test/extension.proto");
    expect(fileNames(session.answer({ case: "fileContainingSymbol", value: "test.note" }))[0]).toBe(
      "test/extension.proto",
    );
  });

  it("lists the numbers of a message's extensions", () => {
    expect(
      session.answer({ case: "allExtensionNumbersOfType", value: "google.protobuf.MessageOptions" }),
    ).toMatchObject({ value: { extensionNumber: [50_001] } });
  });
});

/** The descriptor of: package test; extend google.protobuf.MessageOptions { optional string note = 50001; } */
function extensionFile() {
  const proto = create(FileDescriptorProtoSchema, {
    name: "test/extension.proto",
    package: "test",
    syntax: "proto3",
    dependency: ["google/protobuf/descriptor.proto"],
    extension: [
      {
        name: "note",
        number: 50_001,
        type: FieldDescriptorProto_Type.STRING,
        label: FieldDescriptorProto_Label.OPTIONAL,
        extendee: ".google.protobuf.MessageOptions",
      },
    ],
  });
  const file = createFileRegistry(proto, () => file_google_protobuf_descriptor).getFile(
    "test/extension.proto",
  );
  if (file === undefined) {
    throw new Error("the registry lacks its own file");
  }
  return file;
}
