import { once } from "node:events";
import { Socket } from "node:net";
import { WaitingConnections } from "../../../src/server/waiting-connections.js";
import { FakeClock } from "../../support/fake-clock.js";

const TIMEOUT_MS = 1_000;

let clock: FakeClock;
let room: WaitingConnections;
beforeEach(() => {
  clock = new FakeClock();
  room = new WaitingConnections({ clock, timeoutMs: TIMEOUT_MS });
});

test("a connection that ends leaves the room", async () => {
  const socket = new Socket();
  room.add(socket);
  expect(room.size).toBe(1);
  socket.destroy();
  await once(socket, "close");
  expect(room.size).toBe(0);
});

test("a connection whose time is over is dropped, and leaves the room", async () => {
  const [early, late] = [new Socket(), new Socket()];
  room.add(early);
  await clock.advance(TIMEOUT_MS / 2);
  room.add(late);
  await clock.advance(TIMEOUT_MS / 2);
  room.sweep();
  await once(early, "close");
  expect([early.destroyed, late.destroyed, room.size]).toEqual([true, false, 1]);
});

test("a room that is closed drops whoever waits or comes", async () => {
  const [early, late] = [new Socket(), new Socket()];
  room.add(early);
  room.close();
  expect(room.add(late)).toBe(false);
  expect([early.destroyed, late.destroyed]).toEqual([true, true]);
});
