import { execFile } from 'node:child_process';
import { readdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from '../batch/temporary-folder';
import { ServerProcess } from './server-process';

// What `npm pack` packs, beside the dependencies of this checkout: all that a server and a run need, and no more.

const PROJECT_ROOT = path.join(__dirname, '../..');
const run = promisify(execFile);

const folder = temporaryFolder();

beforeEach(async () => {
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', folder()], { cwd: PROJECT_ROOT });
  await run('tar', ['-xf', stdout.trim()], { cwd: folder() });
  await symlink(path.join(PROJECT_ROOT, 'node_modules'), folder('package', 'node_modules'));
});

test('a package serves the bundle and the documents that it holds', async () => {
  // A bundle's path is from the package's folder.
  const server = new ServerProcess(['node', folder('package', 'dist/main.js')], { MODEL_DIR: 'models/photos' });
  try {
    const { models } = await server.event('listening');
    expect(models).toEqual([expect.stringMatching(/^photos@/)]);
    const document = await fetch(`http://127.0.0.1:${await server.port()}/openapi.yaml`);
    expect(await document.text()).toContain('openapi: 3.1');
  } finally {
    server.cleanUp();
  }
});

test('a package has its command, and neither types nor maps', async () => {
  const { stdout } = await run('node', [folder('package', 'dist/batch/main.js'), 'score', '--help']);
  expect(stdout).toContain('--bundle');
  const code = await readdir(folder('package', 'dist'), { recursive: true, withFileTypes: true });
  expect(code.filter((entry) => entry.isFile() && !entry.name.endsWith('.js'))).toEqual([]);
});
