/** Finds the protobuf files behind names, for server reflection; it knows nothing of streams or clients. */
import { type DescExtension, type DescFile, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/** Looks up files by what they declare. Names are fully qualified, without a leading dot. */
export class DescriptorIndex {
  /** By name as imports write it, "google/protobuf/any.proto". */
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #messages = new Set<string>();
  /** By the name of the extended message, then by field number. */
  readonly #extensions = new Map<string, Map<number, DescFile>>();
  readonly #encoded = new Map<DescFile, Uint8Array>();

  /** Indexes `files` and all that they import. */
  constructor(deps: { readonly files: Iterable<DescFile> }) {
    for (const file of deps.files) {
      this.#addFile(file);
    }
  }

  /** The file of that name. */
  fileByName(name: string): DescFile | undefined {
    return this.#files.get(name);
  }

  /**
   * The file that declares a service, method, message, enum, enum value, field, oneof or extension. An enum
   * value is a sibling of its enum, so `pkg.VALUE`, not `pkg.Enum.VALUE`.
   */
  fileBySymbol(symbol: string): DescFile | undefined {
    return this.#symbols.get(symbol);
  }

  /** The file that declares the extension of message `typeName` with that field number. */
  fileByExtension(typeName: string, fieldNumber: number): DescFile | undefined {
    return this.#extensions.get(typeName)?.get(fieldNumber);
  }

  /** The field numbers of all known extensions of message `typeName`; undefined if there is no such message. */
  extensionNumbers(typeName: string): number[] | undefined {
    return this.#messages.has(typeName) ? [...(this.#extensions.get(typeName)?.keys() ?? [])] : undefined;
  }

  /** `file` and all that it imports, directly or not, `file` first and each once. */
  withImports(file: DescFile): Set<DescFile> {
    // A Set visits what is added to it while it is walked.
    const files = new Set([file]);
    for (const each of files) {
      for (const dependency of each.dependencies) {
        files.add(dependency);
      }
    }
    return files;
  }

  /** `file` as a binary FileDescriptorProto, encoded once. */
  encode(file: DescFile): Uint8Array {
    let bytes = this.#encoded.get(file);
    if (bytes === undefined) {
      bytes = toBinary(FileDescriptorProtoSchema, file.proto);
      this.#encoded.set(file, bytes);
    }
    return bytes;
  }

  #addFile(file: DescFile): void {
    if (this.#files.has(file.proto.name)) {
      return;
    }
    this.#files.set(file.proto.name, file);
    for (const dependency of file.dependencies) {
      this.#addFile(dependency);
    }
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      switch (type.kind) {
        case "message":
          this.#addMessage(type);
          break;
        case "enum": {
          const scope = type.typeName.slice(0, -type.name.length);
          for (const value of type.values) {
            this.#symbols.set(`${scope}${value.name}`, file);
          }
          break;
        }
        case "service":
          for (const method of type.methods) {
            this.#symbols.set(`${type.typeName}.${method.name}`, file);
          }
          break;
        case "extension":
          this.#addExtension(type);
      }
    }
  }

  #addMessage(message: DescMessage): void {
    this.#messages.add(message.typeName);
    for (const member of [...message.fields, ...message.oneofs]) {
      this.#symbols.set(`${message.typeName}.${member.name}`, message.file);
    }
  }

  #addExtension(extension: DescExtension): void {
    const { typeName } = extension.extendee;
    const numbers = this.#extensions.get(typeName) ?? new Map<number, DescFile>();
    this.#extensions.set(typeName, numbers.set(extension.number, extension.file));
  }
}
