import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { lockOutput } from '../../src/batch/lock';
import { temporaryFolder } from './temporary-folder';

const at = temporaryFolder();

test('an output is locked once, by whatever path', async () => {
  mkdirSync(at('real'));
  symlinkSync(at('real'), at('link'));
  const lock = await lockOutput(at('real/out'));
  await expect(lockOutput(at('link/out'))).rejects.toThrow(/^Another run is writing .*out\.$/);
  const other = await lockOutput(at('real/other'));
  await Promise.all([lock.release(), other.release()]);
  await (await lockOutput(at('link/out'))).release();
});

test('a process that is killed leaves no lock', async () => {
  const module = path.join(__dirname, '../../dist/batch/lock.js');
  const script = `require(process.argv[1]).lockOutput(process.argv[2]).then(() => console.log('locked')); setInterval(() => {}, 1e6)`;
  const holder = spawn(process.execPath, ['-e', script, module, at('out')], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  await expect(lockOutput(at('out'))).rejects.toThrow('Another run');
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await (await lockOutput(at('out'))).release();
});

test('a folder that is not there is an error', async () => {
  await expect(lockOutput(at('nowhere/out'))).rejects.toThrow('ENOENT');
});
