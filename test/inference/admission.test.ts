import { Admission, type AdmissionLimits, type Arrival } from '../../src/inference/admission';
import { DrainRate } from '../../src/inference/drain-rate';

const LIMITS: AdmissionLimits = { units: 8, bytes: 1_000, unitsInWork: 2 };
const ARRIVAL: Arrival = { priority: 'interactive', bytes: 10, timeoutMs: 30_000 };
const BULK: Arrival = { ...ARRIVAL, priority: 'bulk' };
const NOTHING = { units: 0, uploads: 0, bytes: 0 };

let rate: DrainRate;
let admission: Admission;

beforeEach(() => {
  rate = new DrainRate();
  admission = new Admission(LIMITS, rate);
});

/** Lets in a request whose body is here. */
function letIn(units: number, arrival: Partial<Arrival> = {}) {
  const ticket = admission.enter({ ...ARRIVAL, ...arrival });
  ticket.take({ units, uploads: 0, bytes: 10 });
  return ticket;
}

const overloaded = (detail: RegExp) =>
  expect.objectContaining({ code: 'overloaded', detail: expect.stringMatching(detail) as string }) as Error;

test('a request holds a slot before its body is here, then what it really asks, and nothing once it has left', () => {
  const ticket = admission.enter(ARRIVAL);
  expect(admission.loadOf('interactive')).toEqual({ units: 1, uploads: 1, bytes: 0 });
  ticket.receive(3);
  ticket.receive(4);
  expect(admission.loadOf('interactive')).toEqual({ units: 1, uploads: 1, bytes: 7 });
  ticket.take({ units: 6, uploads: 0, bytes: 7 });
  expect(admission.loadOf('interactive')).toEqual({ units: 6, uploads: 0, bytes: 7 });
  ticket.done(4);
  expect(admission.loadOf('interactive')).toEqual({ units: 2, uploads: 0, bytes: 7 });
  ticket.leave();
  ticket.leave();
  expect(admission.loadOf('interactive')).toEqual(NOTHING);
});

test('units beyond the limit are refused, and taken once there is room', () => {
  const ticket = letIn(8);
  expect(() => letIn(1)).toThrow(overloaded(/^8 photos and questions/));
  ticket.done(1);
  expect(() => letIn(1)).not.toThrow();
});

test('a request whose body asks more than there is room for is refused, and its slot is free', () => {
  letIn(5);
  const ticket = admission.enter(ARRIVAL);
  expect(() => {
    ticket.take({ units: 4, uploads: 0, bytes: 10 });
  }).toThrow(overloaded(/^5 photos and questions/));
  expect(admission.loadOf('interactive')).toEqual({ units: 5, uploads: 0, bytes: 10 });
});

test('uploads hold at most half of the slots, however slow they are', () => {
  const uploads = Array.from({ length: 4 }, () => admission.enter(ARRIVAL));
  expect(() => admission.enter(ARRIVAL)).toThrow(overloaded(/^4 uploads/));
  uploads[0]?.take({ units: 1, uploads: 0, bytes: 10 });
  expect(() => admission.enter(ARRIVAL)).not.toThrow();
});

test('bytes are limited, however few the requests', () => {
  expect(() => admission.enter({ ...ARRIVAL, bytes: 1_001 })).toThrow(overloaded(/^0 MB of photos/));
  const ticket = admission.enter({ ...ARRIVAL, bytes: 991 });
  ticket.receive(991);
  expect(() => admission.enter(ARRIVAL)).toThrow(overloaded(/^1 MB of photos/));
  expect(ticket.receive(10)).toEqual(overloaded(/^1 MB of photos/));
  // The body was smaller than it might have been.
  ticket.take({ units: 1, uploads: 0, bytes: 990 });
  expect(() => admission.enter(ARRIVAL)).not.toThrow();
});

test('uploads that announce much and bring little keep nobody out', () => {
  const slow = Array.from({ length: 3 }, () => admission.enter({ ...ARRIVAL, bytes: 1_000 }));
  slow.forEach((ticket) => {
    ticket.receive(1);
  });
  expect(() => admission.enter({ ...ARRIVAL, bytes: 997 })).not.toThrow();
});

test('neither priority keeps the other out', () => {
  letIn(8, BULK);
  expect(() => letIn(8)).not.toThrow();
  expect(() => admission.enter(BULK)).toThrow(overloaded(/^8 photos/));
});

describe('at a pace of a second a unit', () => {
  beforeEach(() => {
    rate.record(1, 1_000, 1);
  });

  test('what would not be answered in time is refused on arrival, with the time until those before it are done', () => {
    letIn(5);
    // Five before it, itself and two in its batch, and half as much again for safety: 12 s.
    expect(() => admission.enter({ ...ARRIVAL, timeoutMs: 12_000 })).not.toThrow();
    letIn(1, { timeoutMs: 60_000 });
    expect(() => admission.enter({ ...ARRIVAL, timeoutMs: 12_000 })).toThrow(
      expect.objectContaining({
        code: 'overloaded',
        retryAfterSeconds: 7,
        detail: 'The answer would take about 10 s, and the deadline is 12 s.',
      }) as Error,
    );
  });

  test('those who came while a body was on its way count once it is here', () => {
    const ticket = admission.enter({ ...ARRIVAL, timeoutMs: 3_000 });
    letIn(2, { timeoutMs: 60_000 });
    expect(() => {
      ticket.take({ units: 1, uploads: 0, bytes: 10 });
    }).toThrow(overloaded(/about 5 s, and the deadline is 3 s/));
  });

  test('with nobody before it, a request is let in whatever its deadline', () => {
    expect(() => letIn(8, { timeoutMs: 1 })).not.toThrow();
  });

  test('interactive work waits for a third as much bulk work, and for what is in work', () => {
    letIn(8, BULK);
    // Two units of the bulk are in work already and go first.
    expect(() => letIn(1, { timeoutMs: 7_500 })).not.toThrow();
    letIn(2, { timeoutMs: 60_000 });
    // Three before it, two in work, one of bulk work between, itself and two in its batch: 9 s, and half as much again.
    expect(() => admission.enter({ ...ARRIVAL, timeoutMs: 13_400 })).toThrow(overloaded(/about 9 s/));
    expect(() => admission.enter({ ...ARRIVAL, timeoutMs: 13_600 })).not.toThrow();
  });

  test('bulk work must reckon with three interactive batches before each of its own', () => {
    letIn(2, BULK);
    expect(() => admission.enter({ ...BULK, timeoutMs: 16_000 })).toThrow(overloaded(/about 11 s/));
    expect(() => admission.enter({ ...BULK, timeoutMs: 17_000 })).not.toThrow();
  });
});

describe('at a pace of 100 ms a unit, where a batch takes 200 ms', () => {
  const refusal = (timeoutMs: number, units: number, leftMs: number) =>
    admission.refusalAfterWait({ ...ARRIVAL, timeoutMs }, units, leftMs);
  beforeEach(() => {
    rate.record(1, 100, 1);
  });

  test('a turn that comes with less of the deadline left than a batch takes comes too late', () => {
    expect(refusal(1_000, 1, 200)).toBeUndefined();
    letIn(5);
    expect(refusal(1_000, 1, 199)).toEqual({
      code: 'overloaded',
      detail: 'Its turn did not come in time for the deadline of 1 s.',
      retryAfterSeconds: 1,
    });
  });

  test('a batch is of no more units than there are', () => {
    letIn(1);
    // Its photos have not come.
    admission.enter(ARRIVAL);
    expect(refusal(1_000, 1, 100)).toBeUndefined();
    expect(refusal(1_000, 1, 99)).toMatchObject({ code: 'overloaded' });
  });

  test('where photos had to be fetched first, what is left of the deadline counts, and load is not to blame', () => {
    const ticket = admission.enter({ ...ARRIVAL, timeoutMs: 1_000 });
    ticket.take({ units: 1, uploads: 0, bytes: 10 }, 90);
    expect(ticket.refusalAfterWait(89)).toBeUndefined();
    const late = admission.enter({ ...ARRIVAL, timeoutMs: 1_000 });
    expect(() => {
      late.take({ units: 1, uploads: 0, bytes: 10 }, 90);
    }).toThrow(overloaded(/about 1 s, and the deadline is 0.09 s/));
  });

  test('what takes longer than its deadline by itself is not refused for its wait', () => {
    letIn(8);
    expect(refusal(199, 1, 0)).toBeUndefined();
    expect(refusal(1_000, 11, 0)).toBeUndefined();
    expect(refusal(1_000, 10, 0)).toMatchObject({ code: 'overloaded' });
  });
});

describe('where clients are told apart', () => {
  const ALICE = { client: 'alice' };
  const limited = expect.objectContaining({
    code: 'rate_limited',
    detail: '3 photos and questions of this client are waiting already.',
    retryAfterSeconds: 1,
  }) as Error;

  test('one of them has half of the units of a priority, and others have room', () => {
    const ticket = letIn(3, ALICE);
    expect(() => letIn(2, ALICE)).toThrow(limited);
    expect(() => letIn(4, { client: 'bob' })).not.toThrow();
    ticket.done(1);
    expect(() => letIn(1, ALICE)).not.toThrow();
    expect(() => letIn(2, { ...BULK, ...ALICE })).not.toThrow();
  });

  test('with nothing else here, one of them may have more', () => {
    const ticket = letIn(8, ALICE);
    ticket.leave();
    expect(() => letIn(8, ALICE)).not.toThrow();
  });
});

test('what comes of a body when its request has been answered is not counted', () => {
  const ticket = admission.enter(ARRIVAL);
  ticket.leave();
  expect(ticket.receive(3)).toBeUndefined();
  expect(admission.loadOf('interactive')).toEqual(NOTHING);
});

test('while no pace is known, no turn comes too late', () => {
  expect(admission.refusalAfterWait(ARRIVAL, 1, 0)).toBeUndefined();
});
