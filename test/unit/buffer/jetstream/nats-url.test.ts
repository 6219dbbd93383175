import { parseNatsUrl } from "../../../../src/buffer/jetstream/nats-url.js";

test.each([
  ["nats://one", { servers: ["one:4222"], isTls: false }],
  ["tls://one:4333", { servers: ["one:4333"], isTls: true }],
  ["nats://one,two:4333, nats://three", { servers: ["one:4222", "two:4333", "three:4222"], isTls: false }],
  ["nats://[::1]:4222/", { servers: ["[::1]:4222"], isTls: false }],
  [
    "nats://us%20er:p%40ss@one,two",
    { servers: ["one:4222", "two:4222"], isTls: false, user: "us er", pass: "p@ss" },
  ],
  ["nats://s3cret@one", { servers: ["one:4222"], isTls: false, token: "s3cret" }],
])("%s names its servers, and the user or the token for all of them", (url, servers) => {
  expect(parseNatsUrl(url)).toEqual(servers);
});

test.each([
  "one:4222",
  "http://one",
  "nats://",
  "nats://one,",
  "nats://one/path",
  "nats://one?x=1",
  "nats://one:99999",
  "nats://us%er:pass@one",
])("%s is no URL of NATS servers, and the error shows one that is", (url) => {
  expect(() => parseNatsUrl(url)).toThrow("must look like nats://host:4222,host:4222");
});
