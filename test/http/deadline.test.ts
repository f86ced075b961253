import type { PhotoJob } from '../../src/inference/service';
import { Admission } from '../../src/inference/admission';
import { DrainRate } from '../../src/inference/drain-rate';
import { photo } from '../photos';
import { untilAborted } from './fake-service';
import { form, TestServer } from './test-server';

// A deadline that passes: what had its turn took too long, what had none is refused as overload is.

let server: TestServer;
let jpeg: Buffer;

beforeEach(async () => {
  jpeg = await photo();
  const rate = new DrainRate();
  // A batch of four takes 40 ms.
  rate.record(1, 10, 1);
  server = await TestServer.start({ admission: new Admission({ units: 32, bytes: 100e6, unitsInWork: 4 }, rate) });
});
afterEach(() => server.close());

const ask = (timeoutMs: number, photos = 1) =>
  server.post('/caption', form(...Array.from({ length: photos }, () => ['image', jpeg] as const)), {
    'X-Request-Timeout-Ms': String(timeoutMs),
  });

/** A job whose turn comes after `waitMs`, and which then takes for ever. */
async function endless(waitMs: number, job: PhotoJob, signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, waitMs));
  const refusal = job.turn?.come();
  if (refusal !== undefined) {
    throw refusal;
  }
  signal?.throwIfAborted();
  await untilAborted(job, signal);
}

test('no turn before the deadline: 503 with the time to come again', async () => {
  server.service.before = untilAborted;
  const answer = await ask(300);
  expect(answer).toMatchObject({
    status: 503,
    body: { code: 'overloaded', detail: 'Its turn did not come in time for the deadline of 0.3 s.' },
  });
  expect(answer.headers.get('retry-after')).toBe('1');
});

test('a turn so late that a batch would end after the deadline: 503', async () => {
  server.service.before = (job, signal) => endless(470, job, signal);
  expect(await ask(500, 4)).toMatchObject({ status: 503, body: { code: 'overloaded' } });
});

test('a turn with time for the one photo that is there, though not for a full batch: it is begun', async () => {
  server.service.before = (job, signal) => endless(470, job, signal);
  expect(await ask(500)).toMatchObject({ status: 504, body: { code: 'deadline_exceeded' } });
});

test('a photo that had its turn and takes too long: 504', async () => {
  server.service.before = (job, signal) => endless(0, job, signal);
  expect(await ask(300)).toMatchObject({ status: 504, body: { code: 'deadline_exceeded' } });
});

test('some of the photos had no turn: 503, unless they take longer than the deadline by themselves', async () => {
  let asked = 0;
  server.service.before = (job, signal) => (asked++ % 2 === 0 ? endless(0, job, signal) : untilAborted(job, signal));
  expect(await ask(300, 2)).toMatchObject({ status: 503 });
  // Twelve times 10 ms.
  expect(await ask(100, 12)).toMatchObject({ status: 504 });
});
