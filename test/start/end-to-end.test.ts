import { photo } from '../photos';
import { ServerProcess } from './server-process';

let server: ServerProcess;
let url: string;

beforeAll(async () => {
  server = new ServerProcess(['node', 'dist/main.js'], { VALIDATE_RESPONSES: 'true' });
  await server.event('ready');
  url = `http://127.0.0.1:${await server.port()}`;
});
afterAll(async () => {
  process.kill(server.pid, 'SIGTERM');
  expect(await server.exit).toBe(0);
  server.cleanUp();
});

async function postJson(path: string, fields: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(fields) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test('a photo is captioned, with as many captions and regions as asked for', async () => {
  const image = (await photo()).toString('base64');
  const { status, body } = await postJson('/caption', { image, num_beams: 3, num_captions: 3, explain: true });
  expect(status).toBe(200);
  expect(body).toMatchObject({ model: 'tiny@1.0.0', width: 12, height: 8, regions: expect.any(Array) as unknown });
  expect(body['alternatives']).toHaveLength(2);
});

test('two photos and two questions are answered, each question for each photo', async () => {
  const images = [(await photo('png')).toString('base64'), (await photo('webp')).toString('base64')];
  const { status, body } = await postJson('/vqa', { images, questions: ['what is it?', 'how many?'], top_k: 2 });
  expect(status).toBe(200);
  expect(body['results']).toMatchObject([
    { image: 0, question: 'what is it?', answers: [expect.anything(), expect.anything()] },
    { image: 0, question: 'how many?' },
    { image: 1, question: 'what is it?' },
    { image: 1, question: 'how many?' },
  ]);
});

test('a damaged photo among two does not touch the other', async () => {
  const jpeg = await photo();
  const images = [jpeg.subarray(0, jpeg.length / 2), jpeg].map((bytes) => bytes.toString('base64'));
  const { body } = await postJson('/caption', { images });
  expect(body['results']).toMatchObject([
    { problem: { code: 'undecodable_image' } },
    { caption: expect.any(String) as unknown },
  ]);
});

test('an inference process that is killed is replaced, and a request meanwhile waits for it', async () => {
  const image = (await photo()).toString('base64');
  const { pid = 0 } = await server.event('inference_process_ready');
  process.kill(pid, 'SIGKILL');
  expect(await server.event('inference_process_gone')).toMatchObject({ pid });
  expect(await postJson('/caption', { image })).toMatchObject({ status: 200 });
});
