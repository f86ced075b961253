import { readFileSync } from 'node:fs';
import path from 'node:path';
import { photo } from '../photos';
import { DOCUMENT, form, TestServer } from './test-server';

let server: TestServer;

beforeEach(async () => {
  server = await TestServer.start();
});
afterEach(() => server.close());

test('the process is live whatever the state of inference', async () => {
  server.service.state = 'starting';
  server.closing.abort();
  expect(await server.get('/health/live')).toMatchObject({ status: 200, body: { status: 'live' } });
});

test('ready when inference is, and not while it starts', async () => {
  expect(await server.get('/health/ready')).toMatchObject({ status: 200, body: { status: 'ready' } });
  server.service.state = 'starting';
  expect(await server.get('/health/ready')).toMatchObject({ status: 503, body: { code: 'not_ready' } });
});

test("KServe's paths say the same, of the server and of each model", async () => {
  expect(await server.get('/v2/health/live')).toMatchObject({ status: 200, body: { live: true } });
  expect(await server.get('/v2/health/ready')).toMatchObject({ status: 200, body: { ready: true } });
  const ready = { status: 200, body: { name: 'photos', ready: true } };
  expect(await server.get('/v2/models/photos/ready')).toMatchObject(ready);
  expect(await server.get('/v2/models/photos/versions/1.0.0/ready')).toMatchObject(ready);
  expect(await server.get('/v2/models/photos/versions/2.0.0/ready')).toMatchObject({ status: 404 });
  server.service.state = 'starting';
  expect(await server.get('/v2/health/live')).toMatchObject({ status: 200 });
  expect(await server.get('/v2/health/ready')).toMatchObject({ status: 503, body: { code: 'not_ready' } });
  expect(await server.get('/v2/models/photos/ready')).toMatchObject({ status: 503, body: { code: 'not_ready' } });
});

test('while the server closes it is not ready, and refuses new work before it reads it', async () => {
  server.closing.abort();
  expect(await server.get('/health/ready')).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
  const refused = await server.post('/caption', form(['image', await photo()]));
  expect(refused).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
  expect(refused.headers.get('retry-after')).toBe('5');
});

test('the models are listed with their limits and defaults, and what they run on', async () => {
  const { events } = server.service;
  // A GPU that works again for the next process in its place is not said to be out of use.
  for (const device of [
    { name: 'webgpu', fallback: 'CUDA is busy' },
    { name: 'cpu', fallback: 'no CUDA' },
  ]) {
    events.emit('processReady', { slot: 0, msPerUnit: 1, device });
  }
  events.emit('processReady', { slot: 1, msPerUnit: 1, device: { name: 'cpu', fallback: 'no CUDA' } });
  expect((await server.get('/models')).body).toEqual({
    models: [
      {
        id: 'photos@1.0.0',
        name: 'photos',
        version: '1.0.0',
        tasks: ['caption', 'vqa'],
        limits: { num_beams: 7, max_tokens: 19, top_k: 19, question_characters: 255, question_tokens: 66 },
        defaults: { num_beams: 5, num_captions: 1, max_tokens: 18, top_k: 4 },
        scores: { caption: { meaning: 'geometric_mean_of_token_probabilities' } },
        devices: ['cpu'],
        precisions: ['fp32'],
        warnings: ['Inference runs on cpu: no CUDA'],
      },
    ],
  });
});

test('metrics count requests by route and outcome, and never by a path that a client made up', async () => {
  await server.post('/caption', form(['image', await photo()]));
  await server.post('/caption', form(['imgae', await photo()]));
  await server.get('/made-up');
  const { body, type } = await server.get('/metrics');
  expect(type).toBe('text/plain');
  expect(body).toContain('distillvlm_requests_total{route="/caption",outcome="ok"} 1');
  expect(body).toContain('distillvlm_requests_total{route="/caption",outcome="unknown_field"} 1');
  expect(body).toContain('distillvlm_requests_total{route="none",outcome="not_found"} 1');
  expect(body).toContain('distillvlm_request_duration_seconds_count{route="/caption"} 2');
  expect(body).toContain('distillvlm_queue_depth{priority="interactive"} 0');
  expect(body).not.toContain('made-up');
});

test('metrics show what inference tells: stages, batches, retries, what was dropped, processes', async () => {
  const { events } = server.service;
  events.emit('processReady', { slot: 0, msPerUnit: 90, device: { name: 'cpu', fallback: 'no CUDA' } });
  events.emit('processMemory', { slot: 1, residentBytes: 5e8 });
  events.emit('batchStarted', { units: 5, waitsMs: [20, 40] });
  events.emit('stage', { stage: 'detect', photos: 2, ms: 250 });
  events.emit('stage', { stage: 'caption', photos: 2, ms: 100, tokens: 21 });
  events.emit('stage', { stage: 'answer', photos: 1, ms: 100, tokens: 8 });
  events.emit('jobRetried');
  events.emit('jobShared');
  events.emit('photoAnswered', { cached: true });
  events.emit('jobDropped', { when: 'running' });
  events.emit('processGone', { reason: 'hung' });
  const { body } = await server.get('/metrics');
  expect(body).toContain('distillvlm_process_starts_total{device="cpu"} 1');
  expect(body).toContain('distillvlm_device_fallbacks_total 1');
  expect(body).toContain('distillvlm_process_resident_bytes{process="1"} 500000000');
  expect(body).toContain('distillvlm_batch_units_sum 5');
  expect(body).toContain('distillvlm_stage_duration_seconds_count{stage="wait"} 2');
  expect(body).toContain('distillvlm_stage_duration_seconds_sum{stage="detect"} 0.25');
  expect(body).toContain('distillvlm_tokens_total{kind="caption"} 21');
  expect(body).toContain('distillvlm_tokens_total{kind="question"} 8');
  expect(body).toContain('distillvlm_photos_retried_total 1');
  expect(body).toContain('distillvlm_photos_shared_total 1');
  expect(body).toContain('distillvlm_cache_lookups_total{result="hit"} 1');
  expect(body).toContain('distillvlm_photos_dropped_total{when="running"} 1');
  expect(body).toContain('distillvlm_process_ends_total{reason="hung"} 1');
});

test('the metrics are those of docs/operations.md', async () => {
  const { body } = await server.get('/metrics');
  const shown = [...String(body).matchAll(/^# TYPE (distillvlm_\w+)/gm)].map(([, name]) => name);
  const text = readFileSync(path.join(__dirname, '../../docs/operations.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `(distillvlm_\w+)`/gm)].map(([, name]) => name);
  expect(shown.toSorted()).toEqual(documented.toSorted());
});

test('the document is served as it is, and as a page whose files load over plain HTTP', async () => {
  const document = await server.get('/openapi.yaml');
  expect(document).toMatchObject({ status: 200, type: 'application/yaml', body: DOCUMENT.text });
  const page = await server.get('/docs');
  expect(page).toMatchObject({ status: 200, type: 'text/html' });
  expect(page.body).toContain('swagger-ui');
  expect(page.headers.get('content-security-policy')).not.toContain('upgrade-insecure-requests');
  expect(await server.get('/docs/swagger-ui-bundle.js')).toMatchObject({ status: 200 });
  expect((await server.get('/docs/swagger-ui-init.js')).body).toContain('../openapi.yaml');
});

test.each([
  ['a plain id is kept', 'order-66.b', /^order-66\.b$/],
  ['one with other characters is replaced', 'a b"c', /^[0-9a-f-]{36}$/],
  ['one that is too long is replaced', 'x'.repeat(65), /^[0-9a-f-]{36}$/],
])('request ids: %s', async (_circumstance, id, expected) => {
  const { headers, body } = await server.get('/none', { headers: { 'X-Request-Id': id } });
  expect(headers.get('x-request-id')).toMatch(expected);
  expect(body).toMatchObject({ request_id: headers.get('x-request-id') });
});
