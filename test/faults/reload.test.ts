import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { until } from '../http/plain-client';
import { ServerProcess } from '../start/server-process';
import { withBundleCopy } from '../tiny-bundle';
import { captionsOf, Clients, expectCaptions } from './clients';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

let server: ServerProcess | undefined;

afterEach(() => {
  server?.cleanUp();
});

test('a bundle broken and mended in place, and read again under load: the one that was right serves on', async () => {
  await withBundleCopy(async (bundle) => {
    server = new ServerProcess(['node', 'dist/main.js'], { MODEL_DIR: bundle });
    const started = server;
    await started.event('ready');
    const port = await started.port();
    const expected = await captionsOf(port);
    const clients = new Clients(port, 4);
    const file = path.join(bundle, 'caption.onnx');
    const whole = await readFile(file);
    /** Reads the bundles again, and waits until that has come to its end. */
    const reload = async (end: 'reloaded' | 'reload_failed'): Promise<void> => {
      const before = started.logged(end).length;
      process.kill(started.pid, 'SIGHUP');
      await until(() => started.logged(end).length > before);
    };
    for (let n = 0; n < SIZES.reloads; n += 1) {
      await writeFile(file, whole.subarray(0, whole.length / 2));
      await reload('reload_failed');
      await writeFile(file, whole);
      await reload('reloaded');
    }
    expect(expectCaptions(await clients.end(), expected)).toEqual([]);
    process.kill(started.pid, 'SIGTERM');
    expect(await started.exit).toBe(0);
    expect(started.groupLives).toBe(false);
  });
});
