import { EventEmitter } from 'node:events';
import { ServiceError } from '../../src/errors';
import type { InferenceEvents } from '../../src/inference/events';
import { ReloadableService } from '../../src/inference/reloadable-service';
import type { InferenceService, JobResult, PhotoJob } from '../../src/inference/service';
import { TINY_BUNDLE } from '../tiny-bundle';

// What becomes of the old and the new where bundles are read again; a test says when each is ready.

/** Inference that does nothing but start and end. */
class Generation implements InferenceService {
  readonly events = new EventEmitter<InferenceEvents>();
  readonly state = 'starting';
  isClosed = false;
  load!: () => void;
  private refuse!: (reason: Error) => void;
  private readonly loaded = new Promise<void>((resolve, reject) => {
    this.load = resolve;
    this.refuse = reject;
  });

  run<J extends PhotoJob>(): Promise<JobResult<J>> {
    return Promise.reject(new Error('Expected no work'));
  }

  ready(): Promise<void> {
    return this.loaded;
  }

  close(): Promise<void> {
    this.isClosed = true;
    this.refuse(new ServiceError('shutting_down', 'The server is shutting down.'));
    return Promise.resolve();
  }

  die(): void {
    this.events.emit('processGone', { reason: 'died' });
  }
}

let generations: Generation[];
let service: ReloadableService;

beforeEach(async () => {
  generations = [];
  service = await ReloadableService.open([TINY_BUNDLE], () => {
    const generation = new Generation();
    generation.ready().catch(() => undefined);
    generations.push(generation);
    return generation;
  });
});

/** Waits until the bundles have been read. */
async function generation(nth: number): Promise<Generation> {
  for (;;) {
    const found = generations[nth];
    if (found !== undefined) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test('bundles that are read again before the first are ready: ready are the new ones', async () => {
  const ready = service.ready();
  const reloaded = service.reload();
  (await generation(1)).load();
  await expect(reloaded).resolves.toMatchObject([{ name: 'tiny' }]);
  expect(generations.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  await expect(ready).resolves.toBeUndefined();
});

test('new bundles whose processes die one after the other are refused, and the old ones stay', async () => {
  const { models } = service;
  const refused = expect(service.reload()).rejects.toMatchObject({
    code: 'bundle_refused',
    detail: '3 processes have ended while they loaded the bundles; the log says how.',
  });
  const next = await generation(1);
  for (let deaths = 0; deaths < 3; deaths += 1) {
    next.die();
  }
  await refused;
  expect(generations.map(({ isClosed }) => isClosed)).toEqual([false, true]);
  expect(service.models).toBe(models);
});

test('bundles that change while they are read are read once more, for all who asked meanwhile', async () => {
  const first = service.reload();
  const next = await generation(1);
  const asked = [service.reload(), service.reload()];
  next.load();
  await expect(first).resolves.toMatchObject([{ name: 'tiny' }]);
  (await generation(2)).load();
  const answers = await Promise.all(asked);
  expect(answers[0]).toBe(answers[1]);
  expect(service.models).toBe(answers[0]);
  expect(generations.map(({ isClosed }) => isClosed)).toEqual([true, true, false]);
});

test('a reload that waits for another begins nothing where the service has ended meanwhile', async () => {
  const refused = [service.reload(), service.reload()].map((each) =>
    expect(each).rejects.toMatchObject({ code: 'shutting_down' }),
  );
  await generation(1);
  await service.close(0);
  await Promise.all(refused);
  expect(generations).toHaveLength(2);
});

test('a process or two may die while new bundles are loaded', async () => {
  const reloaded = service.reload();
  const next = await generation(1);
  next.die();
  next.die();
  next.load();
  await expect(reloaded).resolves.toMatchObject([{ name: 'tiny' }]);
});

test('the end of the service before it is ready is told', async () => {
  const ready = expect(service.ready()).rejects.toMatchObject({ code: 'shutting_down' });
  await service.close(0);
  await ready;
});
