import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunError } from '../../../src/batch/errors';
import { ObjectStore } from '../../../src/batch/inputs/s3';
import { chooseScorer, type Circumstances } from '../../../src/batch/scorers/choose-scorer';
import { ServerScorer } from '../../../src/batch/scorers/server-scorer';
import type { Outcome } from '../../../src/batch/item';

// Pauses are noted and not waited for.
jest.mock('node:timers/promises', () => ({ setTimeout: jest.fn(() => Promise.resolve()) }));
const pauses = jest.mocked(sleep);

type Reply = (response: ServerResponse) => void;

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Reply =>
  (response) =>
    void response
      .writeHead(status, { 'Content-Type': 'application/problem+json', ...headers })
      .end(JSON.stringify(body));
const refusal = (status: number, code: string, headers = {}): Reply => json(status, { code, detail: 'Why.' }, headers);
const html =
  (status: number): Reply =>
  (response) =>
    void response.writeHead(status, { 'Content-Type': 'text/html' }).end('<h1>nginx</h1>');
const cutOff: Reply = (response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '500' }).write('{"model":');
  setImmediate(() => response.socket?.destroy());
};
const noEnd: Reply = (response) =>
  void response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '500' }).write('{"model":');
const noAnswer: Reply = (response) => void response.socket?.destroy();
const CAPTION = { model: 'tiny@1', caption: 'a dog', score: 0.123456, log_probability: -2, width: 4, height: 3, no: 1 };
const fine = json(200, CAPTION);
const OUTCOME = { caption: 'a dog', score: 0.1235, log_probability: -2, width: 4, height: 3 };

let server: Server;
let requests: IncomingMessage[];
let replies: Reply[];

beforeEach(async () => {
  requests = [];
  pauses.mockClear();
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      requests.push(request);
      const reply =
        request.url === '/at/models' ? json(200, { models: [{ id: 'tiny@1' }] }) : (replies.shift() ?? fine);
      reply(response);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const urlOf = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/at`;

function connect(url = urlOf()): Promise<ServerScorer> {
  const options = { numBeams: 5, numCaptions: 1, maxTokens: 18, topK: 4, regions: false, explain: false };
  const store = new ObjectStore({ pathStyle: false, maxAttempts: 1 });
  return ServerScorer.connect({ url, apiKey: 'a1', options, store });
}

async function scored(...answers: readonly Reply[]): Promise<Outcome | undefined> {
  replies = [...answers];
  const scorer = await connect();
  const [outcome] = await scorer.score({ index: 0, items: [{ image: 'a.jpg', bytes: Buffer.from('photo') }] });
  const { ms, ...others } = outcome ?? {};
  expect(ms).toEqual(expect.any(Number));
  return others;
}

const pausedSeconds = (): number[] => pauses.mock.calls.map(([ms = 0]) => ms / 1_000);

test('a photo is sent as bulk work with its key and options; what else comes back is left out', async () => {
  expect(await scored()).toEqual(OUTCOME);
  expect(requests.map(({ url, headers }) => [url, headers.authorization, headers['x-priority']])).toEqual([
    ['/at/models', 'Bearer a1', undefined],
    ['/at/caption?num_beams=5&num_captions=1&max_tokens=18', 'Bearer a1', 'bulk'],
  ]);
});

test.each<[string, Reply[], number[]]>([
  [
    'full for ever so long',
    Array<Reply>(20).fill(refusal(503, 'overloaded', { 'Retry-After': '3' })),
    Array(20).fill(3),
  ],
  ['asked too often', [refusal(429, 'rate_limited', { 'Retry-After': '59' })], [59]],
  ['away for an hour', [refusal(503, 'overloaded', { 'Retry-After': '3600' })], [3_600]],
  [
    'away until a date',
    [refusal(503, 'overloaded', { 'Retry-After': new Date(Date.now() + 1e7).toUTCString() })],
    [expect.closeTo(1e4, -2) as number],
  ],
  ['away until a date that is past', [refusal(503, 'overloaded', { 'Retry-After': new Date(0).toUTCString() })], [1]],
  ['away for ever', [refusal(503, 'overloaded', { 'Retry-After': '99999999999' })], [2_147_483.647]],
  ['starting', [refusal(503, 'not_ready'), refusal(503, 'shutting_down')], [1, 1]],
  ['gone and back', [noAnswer, noAnswer, html(502), html(503), cutOff], [1, 2, 4, 8, 16]],
  ['late', [refusal(504, 'deadline_exceeded')], [1]],
  [
    'gone now and then, and full in between',
    Array.from({ length: 7 }, () => [noAnswer, refusal(503, 'overloaded')]).flat(),
    Array<number>(14).fill(1),
  ],
])('a server that is %s is asked again, after the pause that it wants', async (_how, answers, seconds) => {
  expect(await scored(...answers)).toEqual(OUTCOME);
  expect(pausedSeconds()).toEqual(seconds);
});

test.each<[string, Reply[]]>([
  ['undecodable_image', [refusal(422, 'undecodable_image')]],
  ['inference_crashed', [refusal(503, 'inference_crashed', { 'Retry-After': '1' })]],
  ['internal_error', [refusal(500, 'internal_error')]],
  ['deadline_exceeded', Array<Reply>(7).fill(refusal(504, 'deadline_exceeded'))],
])('what is wrong with one photo, %s, is its problem', async (code, answers) => {
  expect(await scored(...answers)).toEqual({ problem: { code, detail: 'Why.' } });
});

test.each<[string, Reply[], RegExp]>([
  ['refuses the key', [refusal(401, 'unauthorized')], /^http:.* refuses the key of API_KEY: Why\.$/],
  ['does not come back', Array<Reply>(7).fill(noAnswer), /cannot be reached: other side closed\.$/],
  ['is behind a proxy without it', Array<Reply>(7).fill(html(502)), /answered 502 again and again: <h1>nginx<\/h1>$/],
  ['is behind a proxy that refuses', [html(413)], /answered 413 with something else than JSON: <h1>nginx<\/h1>$/],
  [
    'takes no photos',
    [refusal(405, 'method_not_allowed')],
    /answered 405 to \/caption; is it the address of a server\?$/,
  ],
  [
    'sends on to another',
    [(response) => void response.writeHead(301, { Location: 'https://a.example/at/caption' }).end()],
    /^http:.*\/at\/caption sends on to https:\/\/a\.example\/at\/caption; give the address/,
  ],
  ['has another bundle now', [json(200, { ...CAPTION, model: 'tiny@2' })], /the bundle tiny@2 now; .* with tiny@1\.$/],
])('a server that %s ends the run with a sentence', async (_how, answers, sentence) => {
  const failed = scored(...answers);
  await expect(failed).rejects.toThrow(RunError);
  await expect(failed).rejects.toThrow(sentence);
});

test('an answer that does not end is cut off, and asked for again', async () => {
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  const shortened = jest.spyOn(AbortSignal, 'timeout').mockImplementation(() => timeout(500));
  expect(await scored(noEnd)).toEqual(OUTCOME);
  expect(pausedSeconds()).toEqual([1]);
  shortened.mockRestore();
});

test.each([
  [8, 8, 16],
  [256, 8, 1],
  [64, 64, 4],
])('batches of %i with %i workers: a server is asked %i batches at a time, 256 photos at most', async (...numbers) => {
  const [batchSize, workers, window] = numbers;
  const options = { url: urlOf(), batchSize, workers };
  const choice = await chooseScorer({ options, settings: { apiKey: '' } } as Circumstances);
  expect(choice.window).toBe(window);
});

test('where no server is, none is waited for', async () => {
  const url = urlOf();
  server.close();
  await expect(connect(url)).rejects.toThrow(/^http:.*\/at cannot be reached: connect ECONNREFUSED/);
  expect(pausedSeconds()).toEqual([]);
});

test('another kind of server is not taken for one', async () => {
  await expect(connect(`${urlOf()}/elsewhere`)).rejects.toThrow(
    'answered 200 to /models; is it the address of a server?',
  );
});
