import { keepPace } from '../../src/http/body-pace';

const PACE = { bytes: 1_000, windowMs: 5_000 };

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

/** Its connection has brought an earlier request before. */
function request(): { socket: { bytesRead: number }; complete: boolean } {
  return { socket: { bytesRead: 7_000 }, complete: false };
}

function read(source: ReturnType<typeof request>): { body: Promise<string>; end: (text: string) => void } {
  let end: (text: string) => void = () => undefined;
  const reading = new Promise<string>((resolve) => {
    end = resolve;
  });
  return { body: keepPace(source, PACE, () => reading), end };
}

test('a body is read as long as every window brings enough', async () => {
  const source = request();
  const { body, end } = read(source);
  for (let window = 0; window < 100; window += 1) {
    source.socket.bytesRead += 1_000;
    await jest.advanceTimersByTimeAsync(5_000);
  }
  end('here');
  await expect(body).resolves.toBe('here');
  expect(jest.getTimerCount()).toBe(0);
});

test('one window that brings too little ends it, whatever the others brought', async () => {
  const source = request();
  const { body } = read(source);
  const refused = expect(body).rejects.toMatchObject({
    code: 'body_too_slow',
    detail: 'The body came slower than 1 kB in 5 s.',
  });
  source.socket.bytesRead += 1_000_000;
  await jest.advanceTimersByTimeAsync(5_000);
  source.socket.bytesRead += 999;
  await jest.advanceTimersByTimeAsync(5_000);
  await refused;
  expect(jest.getTimerCount()).toBe(0);
});

test('a body that is here and is only being taken apart is not slow', async () => {
  const source = request();
  const { body, end } = read(source);
  source.complete = true;
  await jest.advanceTimersByTimeAsync(60_000);
  end('here');
  await expect(body).resolves.toBe('here');
});

test('what goes wrong in reading goes on', async () => {
  const failed = keepPace(request(), PACE, () => Promise.reject(new Error('broken')));
  await expect(failed).rejects.toThrow('broken');
  expect(jest.getTimerCount()).toBe(0);
});
