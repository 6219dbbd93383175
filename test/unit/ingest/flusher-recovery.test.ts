import { FakeSink, FakeSpool } from "../../support/fake-sink.js";
import { FlusherRig } from "../../support/flusher-rig.js";

describe("Flusher after an outage", () => {
  it("goes back to the sink even if each caller waits for durability, so that the spool could take everything", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), spool });
    await rig.pushDurably();
    expect(spool.stored).toHaveLength(1);

    rig.sink.mode = "accept";
    for (let second = 0; second < 60; second++) {
      await rig.advance(1_000);
      await rig.pushDurably();
    }
    expect(rig.flusher.sinkFault()).toBeUndefined();
    expect(spool.stored).toHaveLength(1);
    expect(rig.sink.inserted).toEqual(rig.accepted.slice(1));
  });
});
